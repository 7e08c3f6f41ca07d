"""Rows 30 and 31: an opioid that is still taken."""

from __future__ import annotations

from msgspec.structs import replace

from cds_service.evaluation.answers import Answer, any_of, of
from cds_service.evaluation.assessment import Evidence, Finding, Indicator, Note, Term, Word
from cds_service.evaluation.case import Case
from cds_service.evaluation.readings import once
from cds_service.evaluation.rules.weighing import Earlier, Named, is_met, since_surgery, weigh
from cds_service.evaluation.rules.wording import dated_evidence


@once
def _requires(case: Case) -> list[Named]:
    still_matters = any_of(
        (case.at("opioid-day-any"), case.pain.significant, case.has_pain_diagnosis)
    )
    return [
        since_surgery(case, "opioid-day"),
        (f"an opioid taken {case.limits.words('opioid-days')}", case.care.has_opioid),
        ("within a year of surgery, or significant pain or pain diagnosis", still_matters),
    ]


def _holds(case: Case) -> list[Named]:
    return [
        (
            "the opioid treats use disorder, cancer or sickle-cell disease",
            case.care.is_opioid_for_other_reason,
        )
    ]


def _is_high_risk(case: Case) -> Answer:
    mme = case.care.mme
    is_high = mme is not None and case.limits.met("mme-high", mme)
    return of(is_high) | case.care.is_taken("benzodiazepine")


def high_risk_opioid(case: Case, earlier: Earlier) -> Finding:
    """OPIOID-W: a high dose, or a benzodiazepine beside it."""
    del earlier
    requires = [*_requires(case), ("a high dose or a benzodiazepine", _is_high_risk(case))]
    finding = weigh("OPIOID-W", case, requires, lambda: _holds(case))
    if not finding.is_met:
        return finding
    mme = case.care.mme
    has_benzodiazepine = bool(case.care.taken("benzodiazepine"))
    is_least = bool(case.care.uncounted_doses or case.care.unread_drugs)
    words = _words(case)
    if mme is None or not case.limits.met("mme-high", mme):
        variant = "benzodiazepine"
    elif has_benzodiazepine:
        variant = "both-least" if is_least else "both"
    else:
        variant = "least" if is_least else "default"
    words["benzo"] = Term(kind="phrase", id="with-benzodiazepine")
    return replace(
        finding,
        indicator=Indicator.WARNING,
        variant=variant,
        words=words,
        notes=_notes(case),
        evidence=_evidence(case),
    )


def _words(case: Case) -> dict[str, Word]:
    words: dict[str, Word] = {"dss": case.dss}
    if case.care.mme is not None:
        words["mme"] = case.care.mme
    if case.care.opioid_since is not None:
        words["since"] = case.care.opioid_since.written
    return words


def _notes(case: Case) -> tuple[Note, ...]:
    notes = []
    mme = case.care.mme
    if mme is None:
        notes.append(Note(key="mme-unknown"))
    elif not case.limits.met("mme-high", mme):
        notes.append(Note(key="mme-known", words={"mme": mme}))
    elif case.care.uncounted_doses:
        notes.append(Note(key="mme-least", words={"count": case.care.uncounted_doses}))
    if any(drug.is_daily_maximum and not drug.is_repeated for drug in case.care.opioids):
        notes.append(Note(key="mme-daily-maximum"))
    if case.care.has_substitute_beside:
        notes.append(Note(key="treatment-not-counted"))
    notes.append(Note(key=_naloxone(case)))
    return tuple(notes)


def _naloxone(case: Case) -> str:
    """Return the key of the sentence on naloxone; it may be a drug nobody could identify.

    A kit is dispensed once and kept for years, under a prescription that is completed.
    """
    answer = case.care.is_taken("naloxone")
    if answer.is_yes:
        return "naloxone-on-record"
    if case.care.is_on_record("naloxone"):
        return "naloxone-earlier"
    is_open = answer.is_unknown or case.chart.unidentified_drugs
    return "naloxone-unread" if is_open else "offer-naloxone"


def _evidence(case: Case) -> tuple[Evidence, ...]:
    drugs = (*case.care.opioids, *case.care.taken("benzodiazepine"))
    return tuple(
        dated_evidence(
            drug.reference,
            "opioid" if "opioid" in drug.concepts else "benzodiazepine",
            drug.started,
        )
        for drug in drugs
    )


def opioid(case: Case, earlier: Earlier) -> Finding:
    """OPIOID: an opioid that is still taken, without a known high dose."""
    finding = weigh(
        "OPIOID",
        case,
        _requires(case),
        lambda: [
            ("a high dose or a benzodiazepine has its own card", of(is_met(earlier, "OPIOID-W"))),
            *_holds(case),
        ],
    )
    if not finding.is_met:
        return finding
    return replace(finding, words=_words(case), notes=_notes(case), evidence=_evidence(case))
