"""The value sets and the local code systems as FHIR R4 resources, for readers outside.

Only what is switched on is published.  CPT entries carry our own short words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cds_service.knowledge.model import SYSTEM_URIS, Code, Knowledge, Match, Needs, ValueSet

FINDING_SYSTEM = SYSTEM_URIS["LOCAL"]
CARD_SYSTEM = FINDING_SYSTEM.replace("/finding", "/card")
OVERRIDE_SYSTEM = FINDING_SYSTEM.replace("/finding", "/override-reason")
NON_ADHERENCE_SYSTEM = "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"
"""The reasons CDS Hooks 3.0 offers."""

_STATUS = {"draft": "draft", "reviewed": "draft", "active": "active", "retired": "retired"}
_NOTICES = {
    "LOINC": "This material contains content from LOINC (http://loinc.org). LOINC is copyright "
    "Regenstrief Institute, Inc. and is available at no cost under the license at "
    "http://loinc.org/license.",
    "SNOMED-CT": "This material includes SNOMED CT, used by permission of SNOMED International. "
    "Use outside its free set needs an affiliate license or a member territory.",
    "CPT": "CPT is copyright American Medical Association. Only code numbers are used here; the "
    "words are not those of the AMA.",
    "OPCS-4": "OPCS-4 is Crown copyright.",
}


def value_set_resource(knowledge: Knowledge, value_set_id: str, base: str) -> dict[str, object]:
    """Return a value set as a FHIR ValueSet whose address begins with *base*.

    Raises:
        KeyError: There is no such value set.
    """
    value_set = knowledge.value_sets[value_set_id]
    resource: dict[str, object] = {
        "resourceType": "ValueSet",
        "id": value_set.id,
        "url": f"{base.rstrip('/')}/fhir/ValueSet/{value_set.id}",
        "version": knowledge.version,
        "name": _computer_name(value_set.id),
        "title": value_set.title,
        "status": _STATUS[value_set.status],
        "experimental": False,
        "description": f"{value_set.includes} Not included: {value_set.excludes}",
    }
    codes = [code for code in value_set.codes if code.is_enabled]
    notices = [_NOTICES[system] for system in _systems(codes) if system in _NOTICES]
    if notices:
        resource["copyright"] = " ".join(notices)
    conditions = _conditions(value_set)
    if conditions:
        resource["purpose"] = conditions
    if codes:
        resource["compose"] = {"include": list(_includes(codes))}
    return resource


def code_system_resources(knowledge: Knowledge) -> tuple[dict[str, object], ...]:
    """Return our own code systems: finding, card and override-reason."""
    findings = {
        code.code: code.display
        for value_set in knowledge.value_sets.values()
        for code in value_set.codes
        if code.system == "LOCAL"
    }
    cards = {
        card.id.replace("-", ""): card.title
        for card in sorted(knowledge.cards.values(), key=lambda each: each.row)
    }
    described = (
        ("finding", FINDING_SYSTEM, "Findings without a standard code", findings),
        ("card", CARD_SYSTEM, "Cards of the post-laminectomy evaluation", cards),
        (
            "override-reason",
            OVERRIDE_SYSTEM,
            "Reasons for setting a card aside",
            dict(knowledge.override_reasons),
        ),
    )
    return tuple(
        _code_system(knowledge, name, (url, title), concepts)
        for name, url, title, concepts in described
    )


def override_reason_map(knowledge: Knowledge, base: str) -> dict[str, object]:
    """Return how our override reasons and those of CDS Hooks 3.0 mean each other (ConceptMap).

    A code of ours has several targets when feedback may name it in several ways; the first is the
    best one to send.  The address begins with *base*.
    """
    elements = [
        {
            "code": code,
            "display": display,
            "target": [
                {"code": target, "equivalence": "relatedto"}
                for target in knowledge.override_equivalents.get(code, ())
            ]
            or [{"equivalence": "unmatched"}],
        }
        for code, display in knowledge.override_reasons
    ]
    return {
        "resourceType": "ConceptMap",
        "id": "override-reason",
        "url": f"{base.rstrip('/')}/fhir/ConceptMap/override-reason",
        "version": knowledge.version,
        "name": "PostLaminectomyOverrideReason",
        "title": "Reasons for setting a card aside, and the codes of CDS Hooks 3.0",
        "status": "draft",
        "group": [{"source": OVERRIDE_SYSTEM, "target": NON_ADHERENCE_SYSTEM, "element": elements}],
    }


def _code_system(
    knowledge: Knowledge, name: str, address: tuple[str, str], concepts: Mapping[str, str]
) -> dict[str, object]:
    url, title = address
    return {
        "resourceType": "CodeSystem",
        "id": name,
        "url": url,
        "version": knowledge.version,
        "name": f"PostLaminectomy{_computer_name(name)}",
        "title": title,
        "status": "draft",
        "experimental": False,
        "caseSensitive": True,
        "content": "complete",
        "count": len(concepts),
        "concept": [{"code": code, "display": display} for code, display in concepts.items()],
    }


def _systems(codes: Iterable[Code]) -> list[str]:
    return list(dict.fromkeys(code.system for code in codes))


def _includes(codes: list[Code]) -> Iterable[dict[str, object]]:
    for system in _systems(codes):
        exact = [
            {"code": code.code, "display": code.display}
            for code in codes
            if code.system == system and code.match is Match.EXACT
        ]
        if exact:
            yield {"system": SYSTEM_URIS[system], "concept": exact}
        for code in codes:
            if code.system == system and code.match is Match.PREFIX:
                pattern = f"{code.code.replace('.', '[.]')}.*"
                begins = {"property": "code", "op": "regex", "value": pattern}
                yield {"system": SYSTEM_URIS[system], "filter": [begins]}


def _conditions(value_set: ValueSet) -> str:
    """Return what else an entry must show, as FHIR has no element for it."""
    needing = [
        f"{code.system} {code.code} ({code.needs.value})"
        for code in value_set.codes
        if code.is_enabled and code.needs is not Needs.NOTHING
    ]
    if not needing:
        return ""
    return f"These codes count only when the entry also shows what is named: {', '.join(needing)}."


def _computer_name(value_set_id: str) -> str:
    """Return an id as FHIR wants names: letters and digits, a capital first."""
    name = "".join(part.capitalize() for part in value_set_id.split("-"))
    return name if name[0].isalpha() else f"Set{name}"
