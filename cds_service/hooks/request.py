"""What one hook call asks: the trusted shape of a ``patient-view`` request.

Bytes become a ``HookRequest`` in one place.  The parts of the chart stay raw bytes; the gateway and
the reader judge them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

import msgspec

from cds_service.chart.supply import Key
from cds_service.errors import RequestError, UnknownServiceError
from cds_service.hooks.discovery import SERVICE_ID
from cds_service.hooks.fitting import fits, type_of
from cds_service.hooks.strict_json import check_limits, parse_within_limits, without
from cds_service.hooks.validation import first_fault, packaged_schema, packaged_validator

SCHEMA_FILE = "patient-view-request.schema.json"
AS_OF_EXTENSION = "org.post-laminectomy-cds.as-of"
_VALIDATOR = packaged_validator(SCHEMA_FILE)
_FITTING = type_of(packaged_schema(SCHEMA_FILE))
"""Both are built at the import, so that no request waits for them."""
fits({}, _FITTING)  # msgspec prepares a type at its first use, which must not be in two threads


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRequest:
    """A request that fulfils every SHALL of the specification.

    ``patient_id`` and ``encounter_id`` are bare FHIR ids.  ``scope`` is what the access token is
    said to allow.  A prefetch value is the raw JSON sent for that key, or None for JSON null.
    ``as_of`` is only ever set in dev and demo.
    """

    hook: str
    hook_instance: str
    patient_id: str
    user_id: str
    encounter_id: str | None = None
    fhir_server: str | None = None
    access_token: str | None = field(default=None, repr=False)
    scope: str = field(default="", repr=False)
    is_token_expired: bool = False
    """Whether a token came that its own ``expires_in`` says is over; it is not kept."""
    prefetch: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)
    as_of: date | None = None


def parse_request(body: bytes, *, service_id: str, allows_as_of: bool) -> HookRequest:
    """Read and check one hook request.

    Args:
        body: The request body as it came.
        service_id: The service named in the URL.
        allows_as_of: Whether the as-of extension may be used (dev and demo).

    Raises:
        UnknownServiceError: No service has this id.
        RequestError: The body is not strict JSON, or breaks a rule of the specification.
    """
    if service_id != SERVICE_ID:
        raise UnknownServiceError(
            "No service has this id. GET /cds-services lists the services and their ids."
        )
    sent, prefetch = _read(body)
    fault = None if fits(sent, _FITTING) else first_fault(_VALIDATOR, sent)
    if fault is not None:
        raise RequestError(fault.message, path=fault.path)
    request = _object(sent)
    context = _object(request["context"])
    patient_id = _bare_id(context["patientId"])
    token = _access_token(request, patient_id)
    is_expired = token is not None and _is_over(request)
    return HookRequest(
        hook=str(request["hook"]),
        hook_instance=str(request["hookInstance"]).lower(),
        patient_id=patient_id,
        user_id=str(context["userId"]),
        encounter_id=_bare_id(context["encounterId"]) if context.get("encounterId") else None,
        fhir_server=str(request["fhirServer"]) if request.get("fhirServer") else None,
        access_token=None if is_expired else token,
        scope=_scope(request),
        is_token_expired=is_expired,
        prefetch=prefetch,
        as_of=_as_of(request, allows_as_of=allows_as_of),
    )


def _object(value: object) -> Mapping[str, object]:
    """Narrow *value*, which the schema has proved to be an object."""
    return value if isinstance(value, dict) else {}


def _bare_id(reference: object) -> str:
    """Return the id of ``Patient/123`` or ``123``."""
    return str(reference).rpartition("/")[2]


def _access_token(request: Mapping[str, object], patient_id: str) -> str | None:
    """Return the access token, unless it is for another patient or for no server."""
    if request.get("fhirAuthorization") is None:
        return None
    authorization = _object(request["fhirAuthorization"])
    if not request.get("fhirServer"):
        raise RequestError(
            "$.fhirServer: this field is missing although fhirAuthorization is sent. Send the base "
            "URL of the FHIR server the access token is for.",
            path="$.fhirServer",
        )
    patient = authorization.get("patient")
    if patient is not None and _bare_id(patient) != patient_id:
        raise RequestError(
            "$.fhirAuthorization.patient: the access token is limited to another patient than "
            "context.patientId. Send a token for the patient in context; this one was not used.",
            path="$.fhirAuthorization.patient",
        )
    return str(authorization["access_token"])


def _scope(request: Mapping[str, object]) -> str:
    """Return what the access token is said to allow; empty without a token."""
    return str(_object(request.get("fhirAuthorization")).get("scope", ""))


def _is_over(request: Mapping[str, object]) -> bool:
    """Whether the access token has no second left by what came with it."""
    seconds = _object(request["fhirAuthorization"])["expires_in"]
    return isinstance(seconds, int | float) and seconds <= 0


class _Envelope(msgspec.Struct):
    """The one part of the body whose values are kept as they came."""

    prefetch: dict[str, msgspec.Raw] | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def _read(body: bytes) -> tuple[object, Mapping[str, bytes | None]]:
    """Return the request without the parts of the chart, and these parts as they came.

    Raises:
        RequestError: The body is not JSON, or the request repeats a key.
    """
    check_limits(body)
    try:
        body.decode()
        raw = _ENVELOPE.decode(body).prefetch or {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return parse_within_limits(body), {}  # says what is wrong; a wrong shape is said later
    prefetch = {key: bytes(value) for key, value in raw.items()}
    chart = (value for key, value in prefetch.items() if key in Key.ALL)
    sent = parse_within_limits(without(body, chart))
    return sent, MappingProxyType(
        {key: None if value == b"null" else value for key, value in prefetch.items()}
    )


def _as_of(request: Mapping[str, object], *, allows_as_of: bool) -> date | None:
    sent = _object(request.get("extension")).get(AS_OF_EXTENSION)
    if sent is None:
        return None
    path = f"$.extension['{AS_OF_EXTENSION}']"
    if not allows_as_of:
        raise RequestError(
            f"{path}: only a service in dev or demo mode answers for another day than today. "
            "Leave this extension out.",
            path=path,
        )
    try:
        return date.fromisoformat(str(sent))
    except ValueError:
        raise RequestError(
            f"{path}: this is not a day of the calendar. Send the day to answer for as YYYY-MM-DD.",
            path=path,
        ) from None
