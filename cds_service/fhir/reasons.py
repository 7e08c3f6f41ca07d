"""The fixed phrases that say why data is missing or was set aside.

They reach cards and logs, so none holds anything of a patient, a token or a server's own words.
"""

from __future__ import annotations

from http import HTTPStatus

# Why a key is not, or not wholly, supplied.
NOT_SENT = "the EHR did not send it and gave no FHIR server to ask"
SERVER_NOT_ALLOWED = "the EHR did not send it and its FHIR server is not one we may ask"
NO_ACCESS_TOKEN = "the EHR did not send it and gave no access token for its FHIR server"  # noqa: S105 - a sentence, not a secret
TOKEN_EXPIRED = "the EHR did not send it and the access token for its FHIR server had expired"  # noqa: S105
NOT_FHIR_JSON = "the answer was not FHIR JSON"
SERVER_NOT_FHIR_JSON = "the FHIR server answered with something that is not FHIR JSON"
SERVER_REFUSED = "the FHIR server refused access ({status})"
SERVER_NOT_FOUND = "the FHIR server does not have it ({status})"
SERVER_FAILED = "the FHIR server failed ({status})"
SERVER_BUSY = "the FHIR server was too busy ({status})"
SERVER_REDIRECTED = "the FHIR server redirected the request, which is not followed"
SERVER_TOO_SLOW = "the FHIR server did not answer in time"
SERVER_UNREACHABLE = "the FHIR server could not be reached"
SERVER_NAME_UNKNOWN = "the name of the FHIR server could not be looked up"
SERVER_NOT_TRUSTED = "the certificate of the FHIR server is not trusted"
SERVER_ADDRESS_REFUSED = "the FHIR server has an address that is not allowed for it"
SERVER_PAUSED = "the FHIR server failed or was busy a moment ago and is not asked for a few seconds"
TOO_MUCH = "the answer was larger than this service reads"
REPORTED_PROBLEM = "the FHIR server reported a problem"
REPORTED_NOT_AUTHORISED = "the FHIR server did not authorise all of it"
TOKEN_FOR_A_PART = "the access token may read only a part of it"  # noqa: S105
REPORTED_MORE = "the FHIR server says more may exist"
OTHER_KIND = "the answer held another kind of entry than was asked for"
BATCH_MIXED_UP = "the parts of the FHIR server's answer could not be told apart"
SINGLE_RESOURCE = "a single resource came where a list was asked for"
FEWER_THAN_TOTAL = "fewer entries came than the FHIR server counted"
UNCLEAR_WHETHER_ALL = "the answer does not say readably whether that was all"
MORE_PAGES = "there are more pages than could be read"
NEXT_PAGE_ELSEWHERE = "the next page was on another server and was not fetched"
UNREADABLE_ENTRY = "an entry could not be read"
OPERATION_IN_WORDS = "a lumbar operation is named there in words, without a code known here"
RECORD_REPLACED = "this record of the patient was replaced by another one, which may hold more"
NOT_READ_IN_TIME = "there was more of it than could be read in time"

# Why a single entry was set aside.
ANOTHER_PATIENT = "it belongs to another patient"
OTHER_PERSON = "it is about another person than its patient"
NO_PATIENT = "it does not say whose it is"
UNREADABLE = "it could not be read"
MODIFIED = "it carries a modifier this service does not know"
ENTERED_IN_ERROR = "it was entered in error"
REFUTED = "it was refuted"
FUTURE = "it is dated in the future"
BEFORE_BIRTH = "it is dated before the patient's birth"
NOT_COMPLETED = "the procedure was not completed"
SAME_ID = "another entry has its id and says something else"
NO_KNOWN_CODE = "its words name a lumbar operation, but none of its codes is known here"
NOT_FINAL = "the result is not final"
NOT_AN_ORDER = "it is not an order to do something"
OUT_OF_RANGE = "its value is outside the possible range"
UNIT_NOT_READ = "its unit is not one this service reads"
NO_VALUE = "it has no value this service reads"
ANSWER_NOT_READ = "its answer is not one this service reads"
OTHER_SITE = "the pain score is for another part of the body, or for one not known here"
NOT_A_LEG = "the muscle strength is of another part of the body than a leg"
UNKNOWN_MEDICATION = "the drug it refers to was not supplied"
NOT_READ_HERE = "this service does not read this kind of entry"


_REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ABSENCES = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.NOT_IMPLEMENTED})
BUSY_STATUSES = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""The statuses that ask for a pause."""


def _named(status: int) -> str:
    """Return a status HTTP knows as it is, any other by its class: few words, whatever is sent."""
    try:
        return str(HTTPStatus(status).value)
    except ValueError:
        return f"{status // 100}xx"


def of_status(status: int) -> str | None:
    """Return why an answer with *status* brings nothing; None for a plain success."""
    if status == HTTPStatus.OK:
        return None
    if status in _REFUSALS:
        return SERVER_REFUSED.format(status=status)
    if status in _ABSENCES:
        return SERVER_NOT_FOUND.format(status=status)
    if status in BUSY_STATUSES:
        return SERVER_BUSY.format(status=status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return SERVER_REDIRECTED
    return SERVER_FAILED.format(status=_named(status))
