"""The synthetic charts: complete, valid, and never somebody real."""

from __future__ import annotations

import importlib
from datetime import date, timedelta
from pathlib import Path

import pytest
from fhir.resources.R4B.bundle import Bundle

from cds_service.demo.personas import Persona, fixtures_folder, load_personas, with_dates
from cds_service.errors import SettingsError

TODAY = date(2026, 3, 1)
PERSONAS = load_personas(TODAY)
BY_ID = {persona.id: persona for persona in PERSONAS}


def test_personas_tell_at_least_sixteen_different_stories() -> None:
    """There is a persona for each clinical story, and none twice."""
    assert len(BY_ID) == len(PERSONAS) >= 16


@pytest.mark.parametrize("persona", PERSONAS, ids=BY_ID)
def test_persona_is_valid_r4(persona: Persona) -> None:
    """Every resource of every chart, and the Bundle around them, is valid FHIR R4."""
    Bundle.model_validate(dict(persona.bundle))
    for resource in persona.resources:
        kind = resource["resourceType"]
        module = importlib.import_module(f"fhir.resources.R4B.{kind.lower()}")
        getattr(module, kind).model_validate(resource)


@pytest.mark.parametrize("persona", PERSONAS, ids=BY_ID)
def test_persona_is_clearly_synthetic(persona: Persona) -> None:
    """Names begin with Demo-, ids with plcds-, and every resource carries the synthetic tag."""
    patient = persona.resources[0]
    assert patient["name"][0]["family"].startswith("Demo-")
    for resource in persona.resources:
        assert resource["id"].startswith("plcds-")
        assert resource["meta"]["tag"][0]["code"] == "synthetic-persona"


@pytest.mark.parametrize("persona", PERSONAS, ids=BY_ID)
def test_persona_references_only_what_its_bundle_holds(persona: Persona) -> None:
    """A chart can be loaded into any FHIR server: no reference leads outside the Bundle."""
    held = {f"{r['resourceType']}/{r['id']}" for r in persona.resources}
    assert set(_references(dict(persona.bundle))) <= held


@pytest.mark.parametrize("persona", PERSONAS, ids=BY_ID)
def test_persona_has_no_entry_after_today(persona: Persona) -> None:
    """Nothing but the end of a prescription lies in the future of a chart."""
    for resource in persona.resources:
        shown = {k: v for k, v in resource.items() if k != "dispenseRequest"}
        days = [text[:10] for text in _strings(shown) if text[:2] == "20" and text[4:5] == "-"]
        assert max(days, default="") <= TODAY.isoformat()


def test_personas_speak_all_code_systems_of_operations() -> None:
    """CPT, SNOMED CT, ICD-10-PCS and OPCS-4 operations all occur."""
    systems = {
        coding["system"]
        for persona in PERSONAS
        for resource in persona.resources
        if resource["resourceType"] == "Procedure"
        for coding in resource["code"]["coding"]
    }
    assert systems == {
        "http://www.ama-assn.org/go/cpt",
        "http://snomed.info/sct",
        "http://www.cms.gov/Medicare/Coding/ICD10",
        "https://fhir.hl7.org.uk/CodeSystem/OPCS-4",
    }


def test_every_chart_in_the_folder_is_in_the_index() -> None:
    """No chart lies in the folder unseen."""
    files = {path.stem for path in (fixtures_folder() / "personas").glob("*.json")}
    assert files == set(BY_ID)


def test_dates_move_with_today() -> None:
    """The same chart a year later has every date a year later, so the story stays the same."""
    later = TODAY + timedelta(days=365)
    before = _strings(dict(BY_ID["no-relief"].bundle))
    after = _strings(dict({p.id: p for p in load_personas(later)}["no-relief"].bundle))
    assert (TODAY - timedelta(days=120)).isoformat() in {text[:10] for text in before}
    assert (later - timedelta(days=120)).isoformat() in {text[:10] for text in after}


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("{{today}}", "2026-03-01"),
        ("{{today-1}}", "2026-02-28"),
        ("{{today+31}}", "2026-04-01"),
        ("{{today-59T09:15:00-05:00}}", "2026-01-01T09:15:00-05:00"),
        ("{{tomorrow}}", "{{tomorrow}}"),
    ],
)
def test_with_dates_fills_in_every_form(written: str, filled: str) -> None:
    """A relative date becomes a FHIR date or dateTime; anything else stays as it is."""
    assert with_dates(written, TODAY) == filled


def test_a_missing_chart_is_said_with_its_file(tmp_path: Path) -> None:
    """An index entry without its file names the file and what to do."""
    (tmp_path / "index.yaml").write_text("- {id: gone, title: t, story: s, expected_cards: []}")
    with pytest.raises(SettingsError, match=r"gone\.json.*Restore the file"):
        load_personas(TODAY, tmp_path)


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [r for item in value.values() for r in _references(item)]
    if isinstance(value, list):
        return [r for item in value for r in _references(item)]
    return []
