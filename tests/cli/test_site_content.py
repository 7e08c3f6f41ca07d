"""A site changes a number or switches a card off without touching our files."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from cds_service.cli import main
from cds_service.demo.personas import load_personas

TODAY = date(2026, 11, 21)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """Write the chart of the patient without relief on day 120."""
    personas = {persona.id: persona for persona in load_personas(TODAY)}
    path = tmp_path / "chart.json"
    path.write_text(json.dumps(personas["no-relief"].bundle), encoding="utf-8")
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return an empty folder for a site's own content."""
    folder = tmp_path / "site"
    (folder / "thresholds").mkdir(parents=True)
    (folder / "templates").mkdir()
    return folder


def _cards(chart: Path, site: Path) -> list[str]:
    arguments = ["evaluate", str(chart), "--as-of", TODAY.isoformat(), "--format", "json"]
    result = CliRunner().invoke(main, [*arguments, "--site", str(site)])
    assert result.exit_code == 0, result.output
    return [card["source"]["topic"]["code"] for card in json.loads(result.output)["cards"]]


@pytest.mark.parametrize(("workup_day", "is_shown"), [(120, True), (121, False)])
def test_site_number_decides_in_place_of_ours(
    chart: Path, site: Path, *, workup_day: int, is_shown: bool
) -> None:
    """With the work-up from day 120 the patient on day 120 gets the MRI card, from 121 not."""
    ours = Path("cards/thresholds/workup-day.yaml").read_text(encoding="utf-8")
    theirs = ours.replace("value: 90", f"value: {workup_day}")
    (site / "thresholds" / "workup-day.yaml").write_text(theirs, encoding="utf-8")
    assert ("IMGMRINR" in _cards(chart, site)) is is_shown


def test_site_switches_a_card_off_with_two_lines(chart: Path, site: Path) -> None:
    """A card the site has switched off is not shown; the others are."""
    (site / "templates" / "pain-ref.yaml").write_text("id: pain-ref\nenabled: true\n", "utf-8")
    assert "PAINREF" in _cards(chart, site)
    (site / "templates" / "pain-ref.yaml").write_text("id: pain-ref\nenabled: false\n", "utf-8")
    assert _cards(chart, site) == ["IMGMRINR"]


def test_wrong_site_file_is_refused_with_its_name(chart: Path, site: Path) -> None:
    """A misspelt key in a site's file stops the command and names the file and the key."""
    (site / "thresholds" / "workup-day.yaml").write_text("id: workup-day\nvalu: 80\n", "utf-8")
    result = CliRunner().invoke(main, ["evaluate", str(chart), "--site", str(site)])
    assert result.exit_code != 0
    assert "workup-day.yaml" in result.output
    assert "valu" in result.output
