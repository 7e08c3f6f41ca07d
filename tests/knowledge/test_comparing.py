"""What changed in the clinical content, in words, and which made-up patients notice it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cds_service.cli import main
from cds_service.commands.knowledge import change_lines
from cds_service.knowledge import comparing
from cds_service.knowledge.loading import cards_folder, load_knowledge
from cds_service.knowledge.model import Knowledge

VIGNETTES = Path(__file__).parents[1] / "vignettes"
Edited = Callable[[str, str, str], Path]


def diff(*arguments: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["knowledge", "diff", *map(str, arguments)])


@pytest.fixture(scope="module")
def ours() -> Knowledge:
    """Return the content of this checkout."""
    return load_knowledge()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a few cases: opioids, smoking and scans."""
    folder = tmp_path_factory.mktemp("cases")
    for name in ("opioids", "pain-care", "imaging"):
        shutil.copy(VIGNETTES / f"{name}.yaml", folder)
    return folder


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    """Return a maker of copies of our content with one piece of text replaced."""

    def make(file: str, old: str, new: str) -> Path:
        folder = tmp_path / "cards"
        if not folder.exists():
            shutil.copytree(cards_folder(), folder)
        path = folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return folder

    return make


CHANGES = {
    "a number": (
        "thresholds/mme-high.yaml",
        "value: 50",
        "value: 60",
        "was: at least 50 MME/day",
        "is now: at least 60 MME/day",
    ),
    "a boundary": (
        "thresholds/mme-high.yaml",
        "fires: at_or_above",
        "fires: above",
        "boundary: was: at or above; is now: above",
        "is now: more than 50 MME/day",
    ),
    "what is in a drug": (
        "clinical-drugs.csv",
        "1049621,7804,5,",
        "1049621,7804 other,6,",
        "RxNorm drug '1049621': was: holds 7804, 5 mg in each; is now: holds 7804 other, 6 mg in",
    ),
    "a code taken out": (
        "value-sets/phq9.yaml",
        'code: "44261-6"',
        'code: "44261-7"',
        "code LOINC 44261-6: removed, was: ",
        "code LOINC 44261-7: added: ",
    ),
    "what a drug is called elsewhere": (
        "value-sets/nsaid.yaml",
        "names: [indometacin]",
        "names: [indometacin, indocin]",
        "code RxNorm 5781: was: ",
        "also indometacin; is now: indomethacin, mark V, also indometacin, indocin",
    ),
    "a headline": (
        "templates/opioid-w.yaml",
        "do not stop abruptly",
        "never stop abruptly",
        "card OPIOID-W",
        "headline 'default': was: Opioid {mme} MME/day",
    ),
    "one sentence of a long text": (
        "templates/opioid-w.yaml",
        "Treatment of opioid dependence",
        "Treatment of addiction",
        "text 'withheld'",
        "is now: Treatment of addiction",
    ),
    "a card switched off": (
        "templates/smoke.yaml",
        "enabled: true",
        "enabled: false",
        "card SMOKE (Smoking)",
        "switched on: was: yes; is now: no",
    ),
    "an order": (
        "orders/crp.yaml",
        'text: "C-reactive protein"',
        'text: "CRP in serum"',
        "order crp (CRP)",
        "text: was: C-reactive protein; is now: CRP in serum",
    ),
    "a code of an order": (
        "orders/crp.yaml",
        'code: "1988-5"',
        'code: "30522-7"',
        "order crp (CRP)",
        "30522-7",
    ),
    "the points of an explanation": (
        "phenotypes/sij.yaml",
        "points: 6",
        "points: 5",
        "likely explanation sij",
        "is now: 5,",
    ),
    "how long a card stays away": (
        "override-reasons.yaml",
        "silent_days: 180",
        "silent_days: 170",
        "days a card stays away after 'patient-declined'",
        "was: 180; is now: 170",
    ),
    "a source": (
        "sources.yaml",
        'title: "CDC Clinical Practice Guideline',
        'title: "CDC Guideline',
        "source cdc-opioid-2022",
        "title: was: CDC Clinical Practice Guideline",
    ),
    "a shared phrase": (
        "phrases.yaml",
        "not a diagnosis",
        "never a diagnosis",
        "phrase 'limits-always'",
        "never a diagnosis",
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_diff_tells_a_change_in_words(
    edited: Edited, ours: Knowledge, change: tuple[str, str, str, str, str]
) -> None:
    """Whoever signs the content reads what was and what is now, not a list of files."""
    file, old, new, *words = change
    folder = edited(file, old, new)
    lines = change_lines(comparing.changes(ours, load_knowledge(folder)))
    for word in words:
        assert word in "\n".join(lines)


def test_diff_of_equal_content_says_so() -> None:
    """The same content twice has no change and changes nobody's answer."""
    result = diff(cards_folder(), cards_folder(), "--cases", VIGNETTES)
    assert "The content says the same." in result.output
    assert "made-up patients are answered as before." in result.output


def test_diff_names_the_patients_who_notice(edited: Edited, few: Path) -> None:
    """A dose limit moved from 50 to 60 is met by the patient on 50, and by few others."""
    folder = edited("thresholds/mme-high.yaml", "value: 50", "value: 60")
    result = diff(cards_folder(), folder, "--cases", few)
    assert "opioids: An opioid of 50 MME a day is a warning, 49 is not" in result.output
    assert "  OPIOID-W is no longer shown\n  OPIOID is now shown" in result.output


def test_diff_of_a_switched_off_card_says_it_is_no_longer_shown(edited: Edited, few: Path) -> None:
    """Switching a card off is seen in the answers, not only in the file."""
    folder = edited("templates/smoke.yaml", "enabled: true", "enabled: false")
    assert "SMOKE is no longer shown" in diff(cards_folder(), folder, "--cases", few).output


def test_diff_as_json_holds_the_same_facts(edited: Edited, few: Path) -> None:
    """A program that gates a release reads what people read."""
    folder = edited("thresholds/mme-high.yaml", "value: 50", "value: 60")
    result = diff(cards_folder(), folder, "--cases", few, "--format", "json")
    document = json.loads(result.output)
    [change] = document["changes"]
    assert (change["kind"], change["id"]) == ("threshold", "mme-high")
    assert change["before"].startswith("at least 50 MME/day")
    assert any("50 MME a day" in answer["case"] for answer in document["answers"])
    assert document["old"]["digest"] != document["new"]["digest"]


def test_diff_lays_a_site_folder_over_ours(tmp_path: Path) -> None:
    """A hospital sees what its own files change."""
    site = tmp_path / "site" / "templates"
    site.mkdir(parents=True)
    (site / "smoke.yaml").write_text("id: smoke\nenabled: false\n", encoding="utf-8")
    result = diff(cards_folder(), site.parent)
    assert "card SMOKE (Smoking)\n  switched on: was: yes; is now: no" in result.output


def test_number_that_counts_from_a_later_day_is_noticed(edited: Edited, few: Path) -> None:
    """A committee reads who is answered differently from that day on, not that nobody is."""
    later = '  - {from: "2026-07-01", value: 84, source: design-judgement, locator: B}'
    folder = edited("thresholds/workup-day.yaml", "status: draft", f"{later}\nstatus: draft")
    result = diff(cards_folder(), folder, "--cases", few)
    assert "IMG-MRI-NR is now shown" in result.output
    assert "(from 2026-07-01 on)" in result.output


def test_folder_without_cases_is_no_proof(tmp_path: Path) -> None:
    """That nobody of none is answered differently would be read as good news."""
    result = diff(cards_folder(), cards_folder(), "--cases", tmp_path)
    assert result.exit_code == 2
    assert "holds no case" in result.output


@pytest.mark.parametrize("place", ["no-such-revision", "--output=x"])
def test_diff_of_a_place_that_does_not_exist_says_what_may_be_given(place: str) -> None:
    """A misspelt name is no empty comparison."""
    result = CliRunner().invoke(main, ["knowledge", "diff", "--", place, str(cards_folder())])
    assert result.exit_code == 1
    assert "neither a folder nor a git revision" in result.output


def test_every_part_of_the_knowledge_is_compared() -> None:
    """A part added to the knowledge later cannot change unseen."""
    repeats_others = {"version", "digest", "by_code", "by_prefix"}
    compared = {*comparing._KINDS, *comparing._SINGLE, *repeats_others}
    names = {field.name for field in fields(Knowledge) if not field.name.startswith("_")}
    assert names == compared


def test_every_fact_of_a_thing_has_a_name_of_its_own() -> None:
    """Two facts under one name would hide a change of the first."""
    knowledge = load_knowledge()
    for part in comparing._KINDS:
        for thing in getattr(knowledge, part).values():
            names = [
                name
                for field in fields(thing)
                for name, _ in comparing._facts(field.name, getattr(thing, field.name), thing)
            ]
            assert len(names) == len(set(names)), (part, thing.id)
