"""A number that nobody can mean is refused before a card of a patient fails to appear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cds_service.errors import KnowledgeError
from cds_service.knowledge.loading import cards_folder, load_knowledge
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.numbers import APART, WINDOWS


def _site(folder: Path, numbers: Mapping[str, str]) -> Path:
    """Return a site's folder with our files of these names, each with another last number."""
    (folder / "thresholds").mkdir()
    for name, number in numbers.items():
        ours = (cards_folder() / "thresholds" / f"{name}.yaml").read_text(encoding="utf-8")
        before, _, after = ours.rpartition("    value: ")
        theirs = f"{before}    value: {number}\n{after.partition(chr(10))[2]}"
        (folder / "thresholds" / f"{name}.yaml").write_text(theirs, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "number", "fault"),
    [
        ("pain-hot", "40", "40 (from 2000-01-01 on) does not lie between 0 and 10 (out of 10)."),
        ("phq9", "30", "does not lie between 0 and 27 (of 27 (PHQ-9))."),
        ("motor-normal-grade", "7", "does not lie between 0 and 5 (of 5 (MRC))."),
        ("change-percent", "130", "does not lie between 0 and 100 (%)."),
        ("workup-day", "-5", "does not lie between 0 and 36525 (days after surgery)."),
        ("workup-day", "99999999999", "does not lie between 0 and 36525 (days after surgery)."),
        ("crp-absolute", "-1", "does not lie between 0 and"),
        ("emg-age", "21.5", "21.5 (from 2000-01-01 on) is not a whole number"),
        ("infection-signs", "1.5", "is not a whole number"),
    ],
)
def test_number_that_no_chart_can_reach_is_refused(
    tmp_path: Path, name: str, number: str, fault: str
) -> None:
    """Pain of "40 out of 10", meant in millimetres, took the MRI cards from every patient."""
    site = _site(tmp_path, {name: number})
    with pytest.raises(KnowledgeError) as refusal:
        load_knowledge(site_overrides=site)
    assert str(refusal.value).startswith(f"{tmp_path.name}/thresholds/{name}.yaml: {number}")
    assert fault in str(refusal.value)


@pytest.mark.parametrize(
    ("numbers", "fault"),
    [
        (
            {"data-window-early-last": "30"},
            (
                "cards/thresholds/data-window-early-first.yaml ('from day 42') and "
                "{site}/thresholds/data-window-early-last.yaml ('up to day 30') leave nothing "
                "between them, from 2000-01-01 on. Correct one of them."
            ),
        ),
        ({"emg-age": "400"}, "emg-age.yaml ('at least 400 days after onset') and"),
        ({"pt-day-fusion": "100", "pt-max-day": "90"}, "('from day 100') and"),
        (
            {"pain-low": "6"},
            "('at least 4 out of 10') would be true of one and the same score",
        ),
        ({"odi-low": "23"}, "('more than 22 of 100 (ODI)') would be true of one"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(
    tmp_path: Path, numbers: Mapping[str, str], fault: str
) -> None:
    """A window from day 42 up to day 30 asks no patient for a score, and nobody noticed."""
    site = _site(tmp_path, numbers)
    with pytest.raises(KnowledgeError) as refusal:
        load_knowledge(site_overrides=site)
    assert fault.replace("{site}", tmp_path.name) in str(refusal.value)


def test_window_of_a_single_day_is_a_window(tmp_path: Path) -> None:
    """A site that asks for scores on day 42 alone may do so; so may one that counts pain from 3."""
    site = _site(tmp_path, {"data-window-early-last": "42", "pain-hot": "3", "pain-low": "2"})
    theirs = load_knowledge(site_overrides=site)
    assert theirs.thresholds["data-window-early-last"].values[-1].value == 42


def test_every_pair_names_numbers_that_exist(knowledge: Knowledge) -> None:
    """A renamed number does not silently lose its check."""
    names = {name for pair in (*WINDOWS, *APART) for name in pair}
    assert names <= knowledge.thresholds.keys()
