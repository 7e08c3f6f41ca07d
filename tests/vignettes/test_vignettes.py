"""Every vignette on the clinical core and again as a hook call; and the runner with wrong files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.errors import VignetteError
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings
from cds_service.vignettes.cases import Vignette, read
from tests.vignettes.cases import all_vignettes
from tests.vignettes.running import run_core, run_http

VIGNETTES = all_vignettes()
NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


@pytest.fixture(scope="module")
def client(knowledge: Knowledge, tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """Return a client of the whole service in development mode."""
    settings = Settings(is_dev=True, state_dir=tmp_path_factory.mktemp("state"), deadline_ms=20_000)
    return create_app(settings, clock=lambda: NOW, knowledge=knowledge).test_client()


@pytest.mark.parametrize("vignette", VIGNETTES, ids=lambda vignette: vignette.title)
def test_vignette_on_the_core(vignette: Vignette, knowledge: Knowledge) -> None:
    """This patient gets exactly the answer the vignette tells."""
    wrong = run_core(vignette, knowledge)
    if wrong:
        pytest.fail(f"{vignette.title}: {'; '.join(wrong)}", pytrace=False)


@pytest.mark.parametrize("vignette", VIGNETTES, ids=lambda vignette: vignette.title)
def test_vignette_in_another_shape(vignette: Vignette, knowledge: Knowledge) -> None:
    """The same patient in other code systems, dates and units gets the same answer."""
    wrong = run_core(vignette, knowledge, seed=vignette.seed + 1)
    if wrong:
        pytest.fail(f"{vignette.title}: {'; '.join(wrong)}", pytrace=False)


@pytest.mark.parametrize("vignette", VIGNETTES, ids=lambda vignette: vignette.title)
def test_vignette_as_a_hook_call(
    vignette: Vignette, client: FlaskClient, knowledge: Knowledge
) -> None:
    """The cards a client receives are those of the vignette."""
    wrong = run_http(vignette, client, knowledge)
    if wrong:
        pytest.fail(f"{vignette.title}: {'; '.join(wrong)}", pytrace=False)


def test_vignette_names_are_told_apart() -> None:
    """No two patients share a sentence."""
    titles = [vignette.title for vignette in VIGNETTES]
    assert len(titles) == len(set(titles))


def test_vignette_with_a_wrong_expectation_is_reported(knowledge: Knowledge) -> None:
    """A vignette that expects what the service does not do is said to differ, in words."""
    vignette = next(each for each in VIGNETTES if each.expect["cards"] == ["IMG-MRI-NR", "PT-REF"])
    hopeful = replace(vignette, expect={"cards": []})
    mistaken = replace(vignette, expect={**vignette.expect, "course": "resolved", "back since": 3})
    assert "the cards are" in run_core(hopeful, knowledge)[0]
    assert len(run_core(mistaken, knowledge)) == 2


@pytest.mark.parametrize(
    ("fact", "fault"),
    [
        ("legg: {95: 7}", "legg"),
        ("leg: {today: 7}", "leg"),
        ("leg: {95: 11}", "leg"),
        ("findings: {sadness: 3}", "findings"),
        ("but: {age: 17}", "becomes"),
        ("leg: {95: 7, 95: 8}", "written twice"),
    ],
)
def test_vignette_file_with_a_fault_names_it(tmp_path: Path, fact: str, fault: str) -> None:
    """A misspelt or impossible fact stops the run with the file and the place."""
    path = tmp_path / "wrong.yaml"
    case = f"- name: A patient nobody met\n  day: 90\n  {fact}\n  expect: {{cards: []}}\n"
    path.write_text(f"theme: faults\ncases:\n{case}", encoding="utf-8")
    with pytest.raises(VignetteError, match=r"wrong\.yaml") as caught:
        read(path)
    assert fault in str(caught.value)
