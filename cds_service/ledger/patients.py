"""A patient and an operation as the ledger knows them: keyed hashes that lead back to nobody."""

from __future__ import annotations

import hmac

from cds_service.evaluation.assessment import Assessment

_BUCKET_DIGITS = 8


def patient_key(key: bytes, *, client_id: str, patient_id: str) -> str:
    """Return the hash that stands for one patient of one client."""
    return hmac.digest(key, f"{client_id}\0{patient_id}".encode(), "sha256").hex()


def operation_key(key: bytes, *, patient: str, assessment: Assessment) -> str | None:
    """Return the hash that stands for the index operation; None where no operation is known.

    Time:
        An operation dated to the present month or year stands under its first possible day: the
        last one is today, another one each day.
    """
    case = assessment.case
    if case is None:
        return None
    day = "undated" if case.is_date_unknown else case.first_possible_day.isoformat()
    return hmac.digest(key, f"{patient}\0{day}".encode(), "sha256").hex()


def is_silent(patient: str, percent: int) -> bool:
    """Whether *patient* (a hash) is in the silent *percent* of patients; the same at every call."""
    return int(patient[:_BUCKET_DIGITS], 16) % 100 < percent
