"""Every error this service raises on purpose.

CdsError
├── KnowledgeError          a file in cards/ is wrong                      start-up stops
├── VignetteError           a file of vignettes is wrong                   the command stops
├── SettingsError           a setting or client profile is wrong           start-up stops
├── RequestError            the hook request is not valid                  400
│   ├── UnknownServiceError   no service has this id                       404
│   ├── BodyTooLargeError     the body is longer than the limit            413
│   ├── MediaTypeError        not JSON, or encoded                         415
│   └── DataNotAvailableError required chart data could not be had         412
├── UnauthorizedError       the client's token is not accepted             401, no reason given
├── TooManyRequestsError    this client's rate is exceeded                 429
└── OverloadedError         no capacity left, or shutting down             503

Only ``cds_service.web.problems`` turns them into HTTP.  The texts say where, what, why and what to
do, and never hold a name, a date, a value or an identifier of a patient, nor a token.
"""


class CdsError(Exception):
    """Anything this service refuses on purpose."""


class KnowledgeError(CdsError):
    """A file in ``cards/`` is wrong; start-up stops."""


class VignetteError(CdsError):
    """A file of vignettes is wrong; the text says where, what and what to do."""


class SettingsError(CdsError):
    """A setting or a client profile is wrong; start-up stops."""


class RequestError(CdsError):
    """The hook request is not valid.

    ``path`` is the JSON path of the fault (``$.context.patientId``); it names our own fields only.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class UnknownServiceError(RequestError):
    """No service has this id."""


class UnknownCallError(RequestError):
    """The ledger holds no such call."""


class BodyTooLargeError(RequestError):
    """The request body is longer than the limit."""


class MediaTypeError(RequestError):
    """The request body is not plain JSON."""


class DataNotAvailableError(RequestError):
    """Required chart data could not be had; ``keys`` names the prefetch keys, ``reason`` why."""

    def __init__(
        self,
        message: str,
        *,
        keys: tuple[str, ...],
        reason: str = "it is required and could not be had",
    ) -> None:
        super().__init__(message, path=f"$.prefetch.{keys[0]}" if keys else None)
        self.keys = keys
        self.reason = reason


class UnauthorizedError(CdsError):
    """The client's token is not accepted; ``reason`` and ``claims`` are for the log only."""

    def __init__(self, reason: str) -> None:
        super().__init__("unauthorized")
        self.reason = reason
        self.claims: str | None = None
        """The client of ours that the token names, be it proved or not."""


class TooManyRequestsError(CdsError):
    """This client's rate is exceeded; ``retry_after_seconds`` says when to come back."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("too many requests")
        self.retry_after_seconds = retry_after_seconds


class OverloadedError(CdsError):
    """The service cannot take this now; ``reason`` is for the log only."""

    def __init__(self, retry_after_seconds: int, reason: str) -> None:
        super().__init__("overloaded")
        self.retry_after_seconds = retry_after_seconds
        self.reason = reason
