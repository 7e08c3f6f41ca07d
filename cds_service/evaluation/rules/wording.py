"""Words, notes and evidence that several rules share."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.evaluation.assessment import Evidence, Note, Term, Word
from cds_service.evaluation.case import Case
from cds_service.evaluation.episode import Operation
from cds_service.evaluation.measures import Measure
from cds_service.evaluation.motor import Deficit
from cds_service.evaluation.pain import Driver, Score
from cds_service.evaluation.readings import once
from cds_service.evaluation.signs import Sign
from cds_service.values import FhirDate

_REASONS: dict[Driver | None, str] = {Driver.LEG: "radiculopathy", Driver.BACK: "low-back-pain"}


def sign_term(sign: Sign) -> Term:
    """Return the words of a sign: the label of its value set."""
    return Term(kind="value-set", id=sign.concept)


def implant_term(kind: str) -> Term:
    """Return the words of a kind of implant: of its value set, or of "an implant"."""
    return Term(kind="phrase" if kind == "implant" else "value-set", id=kind)


def dated_evidence(reference: str, label: str, when: FhirDate | None) -> Evidence:
    """Return an entry as evidence, dated as the chart dates it."""
    if when is None or when.is_exact:
        return Evidence(reference=reference, label=label, day=when.latest if when else None)
    return Evidence(reference=reference, label=label, day=None, written=when.written)


def sign_date(sign: Sign) -> str:
    """Return the date of a sign as the chart gives it; without one the day it counts on."""
    return sign.when.written if sign.when is not None else sign.on.isoformat()


def sign_evidence(signs: Iterable[Sign]) -> tuple[Evidence, ...]:
    """Return signs as evidence."""
    return tuple([dated_evidence(sign.reference, sign.concept, sign.when) for sign in signs])


def deficit_evidence(case: Case, deficits: Iterable[Deficit]) -> tuple[Evidence, ...]:
    """Return motor deficits as evidence."""
    return tuple(
        Evidence(
            reference=reference,
            label=_deficit_label(case, deficit),
            day=case.day(deficit.onset) if deficit.onset is not None else None,
            written=deficit.written,
        )
        for deficit in deficits
        for reference in deficit.references
    )


def _deficit_label(case: Case, deficit: Deficit) -> str:
    """Return muscle, side and grade in words; nobody graded what a code stands for."""
    phrases = case.limits.knowledge.phrases
    where = f"{phrases[f'muscle-{deficit.muscle}']}, {phrases[f'side-{deficit.side.value}']}"
    if deficit.is_coded:
        return f"weakness: {where}"
    return f"weakness: {where}, grade {deficit.grade.normalize():f}/5"


def measure_evidence(measure: Measure | None, label: str) -> tuple[Evidence, ...]:
    """Return a measured value as evidence, nothing if there is none."""
    if measure is None:
        return ()
    return (
        Evidence(
            reference=measure.reference,
            label=label,
            day=measure.on,
            value=measure.value,
            converted_from=measure.converted_from,
        ),
    )


def condition_references(signs: Iterable[Sign]) -> tuple[str, ...]:
    """Return the conditions behind *signs*, each once."""
    return tuple(dict.fromkeys(sign.reference for sign in signs if sign.is_condition))


def denial_notes(case: Case, signs: Iterable[Sign]) -> tuple[Note, ...]:
    """Return that an examination found none of *signs*, which the problem list still holds.

    Nothing if one of them was found or recorded since.
    """
    denied = [case.signs.denied_on(sign) for sign in signs]
    days = [day for day in denied if day is not None]
    if not days or len(days) < len(denied):
        return ()
    return (Note(key="denied", words={"date": max(days)}),)


def drug_notes(case: Case) -> tuple[Note, ...]:
    """Return that prescriptions could not be identified, unless a bleeding risk is known anyway."""
    count = case.chart.unidentified_drugs
    if not count or case.cautions.is_bleeding_risk.is_yes:
        return ()
    return (Note(key="drugs-unidentified", words={"count": count}, is_for_order=True),)


def deficit_words(case: Case, deficit: Deficit) -> dict[str, Word]:
    """Return the words every card about a deficit may use."""
    words: dict[str, Word] = {
        "muscle": Term(kind="phrase", id=f"muscle-{deficit.muscle}"),
        "side": Term(kind="phrase", id=f"side-{deficit.side.value}"),
        "grade": deficit.grade,
    }
    if deficit.onset is not None:
        words["onset"] = deficit.onset
        words["age"] = case.dss - deficit.onset
        words["since"] = case.day(deficit.onset)
    return words


def deficit_notes(case: Case, deficit: Deficit) -> tuple[Note, ...]:
    """Return the notes every card about a deficit carries."""
    notes = []
    if deficit.is_coded:
        notes.append(Note(key="grade-estimated"))
    if not deficit.has_preoperative_grade:
        unread = case.motor.unread
        key = "preoperative-grade-unread" if unread else "no-preoperative-grade"
        notes.append(Note(key=key))
    if deficit.onset is None:
        notes.append(Note(key="date-not-recorded"))
    return tuple(notes)


def weakness_notes(case: Case, told: Deficit | None = None) -> tuple[Note, ...]:
    """Return each stable weakness that is the reason of an order, the earliest first.

    What the order has *told* already is left out.
    """
    deficits = sorted(case.motor.stable, key=lambda deficit: deficit.sort_key)
    return tuple([_weakness_note(case, deficit) for deficit in deficits if deficit != told])


def _weakness_note(case: Case, deficit: Deficit) -> Note:
    key = "weakness" if deficit.onset is not None else "weakness-undated"
    return Note(key=key, words=deficit_words(case, deficit), is_for_order=True)


def pain_notes(case: Case) -> tuple[Note, ...]:
    """Return the score that decides, for whoever gets an order because of it."""
    leading = case.pain.leading
    if leading is None or leading.current is None:
        return ()
    score = f"{leading.current.value.normalize():f}"
    measure = case.limits.knowledge.said(f"measure-{leading.driver.value}", score=score)
    return (Note(key="pain-now", words={"measure": measure}, is_for_order=True),)


def deficit_references(deficits: Iterable[Deficit]) -> tuple[str, ...]:
    """Return the conditions among the entries of *deficits*."""
    entries = [reference for deficit in deficits for reference in deficit.references]
    return tuple([reference for reference in entries if reference.startswith("Condition/")])


def operation_words(operation: Operation) -> dict[str, Word]:
    """Return what was operated and when, as precisely as the chart dates it."""
    types = tuple(Term(kind="phrase", id=f"type-{name}") for name in sorted(operation.types))
    performed = [stage.performed for stage in operation.stages if stage.performed is not None]
    half = [when.written for when in performed if not when.is_exact]
    return {
        "types": types or Term(kind="phrase", id="type-unknown"),
        "operated": next(iter(half), operation.day.isoformat()),
    }


def score_evidence(scores: Iterable[Score], label: str) -> tuple[Evidence, ...]:
    """Return scores as evidence."""
    return tuple(
        [
            Evidence(reference=reference, label=label, day=score.on)
            for score in scores
            for reference in score.references
        ]
    )


def pain_reason(case: Case, driver: Driver | None) -> str:
    """Return the reason of an order for pain at the site of *driver* when no diagnosis is recorded.

    Time:
        From ``workup-day`` on the syndrome; before it what is known: leg, back, or only symptoms.
    """
    if case.at("workup-day").is_yes:
        return "post-laminectomy-syndrome"
    return _REASONS.get(driver, "symptoms")


@once
def pain_references(case: Case) -> tuple[str, ...]:
    """Return the active pain diagnosis to give as an order's reason, the most specific first.

    Time:
        Before ``workup-day`` the syndrome itself is never a reason: it is too early to say so.
    """
    concepts = ["radiculopathy", "disc-herniation", "spinal-stenosis", "low-back-pain"]
    if case.at("workup-day").is_yes:
        concepts.insert(0, "post-laminectomy-syndrome")
    for concept in concepts:
        signs = case.signs.conditions(concept)
        if signs:
            return (signs[-1].reference,)
    return ()
