"""FHIR answers to the chart the clinical core sees.

Pure: no clock, no network, no log.  One odd resource never hides another; what is not used is
counted in ``Chart.set_aside`` with a fixed reason, and a gap that could matter makes its key
*supplied in part*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from zoneinfo import ZoneInfo

from cds_service.catalogue.codes import NO_CODES, CodeMap
from cds_service.chart.facts import Chart, PatientFact
from cds_service.chart.supply import Key, State, Supply
from cds_service.errors import DataNotAvailableError
from cds_service.fhir import reasons
from cds_service.fhir.answers import KeyAnswer, joined_full_urls
from cds_service.fhir.queries import TYPES
from cds_service.fhir.reader import Reader, plain_word
from cds_service.fhir.reading_devices import read_allergies, read_devices
from cds_service.fhir.reading_drugs import read_drugs
from cds_service.fhir.reading_observations import read_observations
from cds_service.fhir.reading_orders import read_orders, read_reports
from cds_service.fhir.reading_procedures import read_conditions, read_encounters, read_procedures
from cds_service.fhir.subjects import Subjects
from cds_service.fhir.wire import Patient
from cds_service.knowledge.model import Knowledge

_REMEDY = (
    "Send it as prefetch, or send a fhirServer this client may use with an access token that "
    "allows reading it."
)

_REPLACED = "replaced-by"
"""The link of a Patient to the record that it was merged into."""
_NOTHING_SENT: Mapping[str, bytes | None] = {}


class AnotherPatientError(DataNotAvailableError):
    """The Patient that came is another person than the one asked for."""


def read_chart(  # noqa: PLR0913 - the contract of all rooms
    answers: Mapping[str, KeyAnswer],
    *,
    patient_id: str,
    as_of: date,
    zone: ZoneInfo,
    knowledge: Knowledge,
    bases: frozenset[str],
    fhir_server: str | None,
    matches_drug_names: bool = False,
    has_time: Callable[[], bool] = lambda: True,
    code_map: CodeMap = NO_CODES,
    sent: Mapping[str, bytes | None] = _NOTHING_SENT,
) -> Chart:
    """Return the chart of the patient *patient_id* as *answers* give it.

    With *matches_drug_names* a drug without a code we know is recognised by its name; *code_map*
    says what the site's local codes mean.  *sent* is the prefetch of the request; what is read of
    it must be strict JSON.

    Time:
        *as_of* is the local day in *zone*; entries dated after it are set aside.
        Of a very large chart only so much is read as *has_time* allows; the rest is a gap.

    Raises:
        DataNotAvailableError: The Patient or the Procedures could not be had.
        AnotherPatientError: The Patient is another person.
        RequestError: A value of *sent* repeats a key or breaks a limit of strict JSON.
    """
    subjects = Subjects(
        patient_id,
        bases=bases,
        fhir_server=fhir_server,
        full_urls=joined_full_urls(answer.full_urls for answer in answers.values()),
    )
    reader = Reader(
        knowledge,
        as_of=as_of,
        zone=zone,
        subjects=subjects,
        matches_drug_names=matches_drug_names,
        has_time=has_time,
        code_map=code_map,
    )
    reader.take(answers, sent)
    patient = _patient(reader, answers, patient_id)
    _check_procedures(answers)
    return _chart(reader, answers, patient)


def _chart(reader: Reader, answers: Mapping[str, KeyAnswer], patient: PatientFact) -> Chart:
    reader.birth = patient.birth
    encounters = read_encounters(reader)
    conditions = read_conditions(reader)
    drugs, unidentified = read_drugs(reader)
    devices, explants = read_devices(reader)
    return Chart(
        patient=patient,
        procedures=read_procedures(reader, conditions, encounters),
        conditions=conditions,
        observations=read_observations(reader),
        orders=read_orders(reader, conditions),
        reports=read_reports(reader),
        drugs=drugs,
        unidentified_drugs=sum(drug.status == "active" for drug in unidentified),
        unidentified_courses=unidentified,
        devices=devices,
        explants=explants,
        encounters=encounters,
        allergies=read_allergies(reader),
        # Only now is it known what was set aside, and why.
        set_aside=tuple(reader.set_aside),
        supply=_supply(reader, answers),
        unmapped=reader.vocabulary.unmapped(),
    )


def _patient(reader: Reader, answers: Mapping[str, KeyAnswer], patient_id: str) -> PatientFact:
    own = [patient for _, patient in reader.patients if patient.id == patient_id]
    others = [key for key, patient in reader.patients if patient.id != patient_id]
    for key in others:
        reader.put_aside(key, reasons.ANOTHER_PATIENT, "Patient")
    keys_of_own = {key for key, patient in reader.patients if patient.id == patient_id}
    is_another = Key.PATIENT in others and Key.PATIENT not in keys_of_own
    if not own or is_another:
        raise _patient_missing(answers.get(Key.PATIENT), is_another=bool(others))
    newest = own[0] if len(own) == 1 else max(own, key=reader.age_of_patient)
    if any(plain_word(link.type) == _REPLACED for link in newest.link):
        reader.incomplete = dict.fromkeys(answers, reasons.RECORD_REPLACED)
    return _patient_fact(reader, newest)


def _patient_fact(reader: Reader, patient: Patient) -> PatientFact:
    return PatientFact(
        reference=f"Patient/{patient.id}",
        birth=reader.clipped(reader.date(patient.birth_date)),
        gender=plain_word(patient.gender) or None,
        is_deceased=patient.is_deceased,
    )


def _patient_missing(answer: KeyAnswer | None, *, is_another: bool) -> DataNotAvailableError:
    error = AnotherPatientError if is_another else DataNotAvailableError
    if is_another:
        why = "the Patient that came is not the one of context.patientId"
    elif answer is not None and answer.supply.reason is not None:
        why = answer.supply.reason
    else:
        why = "no readable Patient came"
    return error(
        f"The prefetch key 'patient' is required and could not be had: {why}. {_REMEDY}",
        keys=(Key.PATIENT,),
        reason=why,
    )


def _check_procedures(answers: Mapping[str, KeyAnswer]) -> None:
    answer = answers.get(Key.PROCEDURES)
    if answer is not None and answer.supply.state is not State.NOT_SUPPLIED:
        return
    why = (answer.supply.reason if answer is not None else None) or "it was not sent"
    raise DataNotAvailableError(
        f"The prefetch key 'procedures' is required and could not be had: {why}. {_REMEDY}",
        keys=(Key.PROCEDURES,),
        reason=why,
    )


def _gap(reader: Reader, key: str) -> str | None:
    """Return why a key that came whole does not hold all it should; None if it does."""
    wanted, kinds = TYPES.get(key), reader.kinds.get(key)
    if wanted is not None and kinds and wanted not in kinds:
        return reasons.OTHER_KIND
    return reader.incomplete.get(key)


def _supply(reader: Reader, answers: Mapping[str, KeyAnswer]) -> dict[str, Supply]:
    """Return how complete each key is after reading; a default key nobody sent is a gap."""
    supply = {
        key: Supply(state=State.NOT_SUPPLIED, reason=reasons.NOT_SENT)
        for key in Key.DEFAULT
        if key not in answers
    }
    for key, answer in answers.items():
        gap = _gap(reader, key) if answer.supply.is_complete else None
        supply[key] = Supply(state=State.PARTIAL, reason=gap) if gap else answer.supply
    supply[Key.PATIENT] = Supply(state=State.SUPPLIED)
    return supply
