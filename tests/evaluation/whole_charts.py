"""The answer to a vignette's patient whose chart holds further FHIR resources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from cds_service.chart.supply import Key, State, Supply
from cds_service.evaluation.assess import assess
from cds_service.fhir.answers import KeyAnswer
from cds_service.knowledge.model import Knowledge
from cds_service.vignettes.charts import PATIENT_ID, Resource, expand
from cds_service.vignettes.concepts import LOCAL, SNOMED
from cds_service.vignettes.running import AS_OF, Answered, answers, read_answers

_KEYS = {
    "Device": Key.DEVICES,
    "Condition": Key.CONDITIONS,
    "Observation": Key.FINDINGS,
    "DiagnosticReport": Key.DIAGNOSTIC_REPORTS,
    "Encounter": Key.ENCOUNTERS,
    "Procedure": Key.PROCEDURES,
    "ServiceRequest": Key.SERVICE_REQUESTS,
}
LEFT, RIGHT = "7771000", "24028007"
FOR_STIMULATION = {
    "day": 200,
    "operation": "decompression",
    "leg": {-1: 7, 60: 7, 110: 7, 195: 6},
    "questionnaires": {"DN4": {190: 6}},
    "done": {"MRI": 120, "physiotherapy": [60, 180], "pain clinic": 170},
    "ordered": {"spine surgeon": 160},
    "drugs": [{"drug": "gabapentinoid", "from": 60}, {"drug": "NSAID", "from": 60}],
}


def coded(system: str, *codes: str) -> Resource:
    """Return a CodeableConcept."""
    return {"coding": [{"system": system, "code": code} for code in codes]}


def observed(code: Resource, /, **fields: Any) -> Resource:  # noqa: ANN401 - parts of a resource
    """Return a final Observation."""
    return {"resourceType": "Observation", "status": "final", "code": code, **fields}


def strength(grade: Resource, *sites: str, muscle: str | None = "ehl", **fields: Any) -> Resource:  # noqa: ANN401 - parts of a resource
    """Return a muscle's strength; *grade* is the value as the chart writes it."""
    parts = {}
    if muscle is not None:
        answer = {"valueCodeableConcept": coded(LOCAL, muscle)}
        parts["component"] = [{"code": coded(LOCAL, "muscle"), **answer}]
    site = {"bodySite": coded(SNOMED, *sites)} if sites else {}
    return observed(coded(LOCAL, "mrc-grade"), **grade, **parts, **site, **fields)


def device(**fields: Any) -> Resource:  # noqa: ANN401 - parts of a resource
    """Return a Device in use."""
    return {"resourceType": "Device", "status": "active", **fields}


def answered_with(
    knowledge: Knowledge, facts: Mapping[str, Any], *resources: Resource, in_part: str | None = None
) -> Answered:
    """Return the answer to the patient of *facts* with *resources*; *in_part* names a cut key."""
    found = answers(facts, expand(facts, AS_OF))
    for number, resource in enumerate(resources):
        who = "patient" if resource["resourceType"] == "Device" else "subject"
        owned = {"id": f"more{number}", who: {"reference": f"Patient/{PATIENT_ID}"}, **resource}
        _add(found, _KEYS[resource["resourceType"]], owned)
    if in_part is not None:
        supply = Supply(state=State.PARTIAL, reason="only some pages could be read")
        found[in_part] = replace(found[in_part], supply=supply)
    return Answered(assess(read_answers(found, knowledge), knowledge, AS_OF), knowledge)


def _add(found: dict[str, KeyAnswer], key: str, resource: Resource) -> None:
    before = found[key].resources if key in found else ()
    resources = (*before, json.dumps(resource).encode())
    found[key] = KeyAnswer(supply=Supply(state=State.SUPPLIED), resources=resources)
