"""Do the checks across files notice what no single file can show?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cds_service.errors import KnowledgeError
from cds_service.knowledge.checking import (
    DISJOINT,
    PLACEHOLDERS,
    main,
    problems,
    readme_with_table,
    render_readme_table,
)
from cds_service.knowledge.model import Knowledge, Match, Needs


def test_shipped_files_fit_together(knowledge: Knowledge) -> None:
    """The files as shipped have no faults."""
    assert problems(knowledge) == []


def test_check_names_a_number_that_nothing_uses(knowledge: Knowledge) -> None:
    """A number that neither a rule nor a card reads is named."""
    in_cards = {name for card in knowledge.cards.values() for name in card.thresholds}
    unused = next(name for name in knowledge.thresholds if name not in in_cards)
    others = set(knowledge.thresholds) - {unused}
    expected = f"cards/thresholds/{unused}.yaml: nothing uses this number. Use or remove it."
    assert expected in problems(knowledge, code_thresholds=others)


def test_check_names_a_number_that_a_rule_misses(knowledge: Knowledge) -> None:
    """A rule that reads a number nobody wrote is named before a patient needs it."""
    found = problems(knowledge, code_thresholds={*knowledge.thresholds, "no-such-day"})
    assert found == ["cards/thresholds/no-such-day.yaml: a rule reads this number. Add the file."]


def test_check_names_days_that_do_not_ascend(knowledge: Knowledge) -> None:
    """A number with two values from the same day is named."""
    threshold = knowledge.thresholds["mme-high"]
    twice = replace(threshold, values=threshold.values * 2)
    changed = replace(knowledge, thresholds={**knowledge.thresholds, "mme-high": twice})
    assert problems(changed) == [
        (
            "cards/thresholds/mme-high.yaml: the days under 'from' do not ascend. "
            "Sort the lines, each day once."
        )
    ]


@pytest.mark.parametrize("match", [Match.EXACT, Match.PREFIX])
def test_check_names_a_code_in_two_sets_that_must_not_overlap(
    knowledge: Knowledge, match: Match
) -> None:
    """A current smoker's code among the former smokers is named, as is a family that covers it."""
    former = knowledge.value_sets["ex-smoker"]
    code = next(code for code in former.codes if code.code == "Z87.891")
    intruder = replace(code, code="Z72.0" if match is Match.EXACT else "Z72", match=match)
    changed = replace(former, codes=(*former.codes, intruder))
    found = problems(_with_sets(knowledge, {"ex-smoker": changed}))
    assert found == [
        (
            "cards/value-sets/smoker.yaml and ex-smoker.yaml: ICD-10-CM Z72.0 is in both, but "
            "these two must not overlap. Remove it from one."
        )
    ]


def _with_sets(knowledge: Knowledge, sets: Mapping[str, object]) -> Knowledge:
    return replace(knowledge, value_sets={**knowledge.value_sets, **sets})  # type: ignore[dict-item]


def test_check_names_a_statement_that_nothing_cites(knowledge: Knowledge) -> None:
    """A statement said to be automated but used nowhere is named."""
    changed = replace(knowledge, automated_claims=knowledge.automated_claims | {"S4-02"})
    assert problems(changed) == [
        (
            "cards/claims.yaml: S4-02 is marked automated, but no card, threshold or phenotype "
            "cites it. Cite it where it is used, or write automated: false."
        )
    ]


def test_check_names_an_order_that_is_read_as_nothing_we_have(knowledge: Knowledge) -> None:
    """A misspelt concept would let an order of the hospital be proposed again."""
    order = replace(knowledge.orders["crp"], read_as=(("crpp", Needs.NOTHING),))
    broken = replace(knowledge, orders={**knowledge.orders, "crp": order})
    [problem] = problems(broken)
    assert problem.startswith("cards/orders/crp.yaml: the concept 'crpp' is not in cards/value-set")


def test_check_proves_headlines_with_their_longest_words(knowledge: Knowledge) -> None:
    """A headline may have 139 characters when filled, not 140."""
    card = knowledge.cards["SMOKE"]
    room = 139 - PLACEHOLDERS["date"]
    fits = replace(card, summaries={"default": "x" * room + "{date}"})
    bursts = replace(card, summaries={"default": "x" * (room + 1) + "{date}"})
    assert problems(replace(knowledge, cards={**knowledge.cards, "SMOKE": fits})) == []
    assert problems(replace(knowledge, cards={**knowledge.cards, "SMOKE": bursts})) == [
        (
            "cards/templates/smoke.yaml, headline 'default': with its longest words it has 140 "
            "characters; at most 139 fit. Use fewer words."
        )
    ]


def test_placeholder_lengths_cover_the_words_that_fill_them(knowledge: Knowledge) -> None:
    """Muscles, sides, scales and every single sign are no longer than the check assumes."""
    longest = {
        "muscle": _longest(knowledge.phrases, "muscle-"),
        "side": _longest(knowledge.phrases, "side-"),
        "scale": _longest(knowledge.phrases, "scale-"),
        "reason": _longest(knowledge.phrases, "surgery-reason-"),
        "type": _longest(knowledge.phrases, "type-"),
    }
    for name, length in longest.items():
        assert 0 < length <= PLACEHOLDERS[name], name


def _longest(phrases: Mapping[str, str], start: str) -> int:
    return max(len(words) for key, words in phrases.items() if key.startswith(start))


def test_disjoint_groups_name_value_sets_that_exist(knowledge: Knowledge) -> None:
    """No group of the check is empty because of a misspelt name."""
    assert {name for group in DISJOINT for name in group} <= set(knowledge.value_sets)


def test_readme_table_lists_every_card_in_order(knowledge: Knowledge) -> None:
    """The table shows 36 cards, first the red flags."""
    rows = render_readme_table(knowledge).splitlines()[2:]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 37))
    assert rows[0].startswith("| 1 | [RF-CES](templates/rf-ces.yaml) | critical |")


def test_readme_without_markers_is_refused() -> None:
    """A README that lost its markers is not overwritten."""
    with pytest.raises(KnowledgeError, match="the markers around the table of cards are missing"):
        readme_with_table("# Cards\n", "| table |")


def test_command_renews_an_outdated_table(cards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check fails while the table is out of date, and --write renews it."""
    page = cards / "README.md"
    main(["--cards", str(cards), "--write"])
    whole = page.read_text(encoding="utf-8")
    page.write_text(whole.replace("| 33 | [SMOKE]", "| 33 | [SMOKING]"), encoding="utf-8")
    assert main(["--cards", str(cards)]) == 1
    assert "the table of cards is out of date" in capsys.readouterr().err
    assert main(["--cards", str(cards), "--write"]) == 0
    assert main(["--cards", str(cards)]) == 0
    assert page.read_text(encoding="utf-8") == whole


def test_command_says_what_is_wrong(cards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong file makes the command fail with the same words as the start of the service."""
    (cards / "claims.yaml").unlink()
    assert main(["--cards", str(cards)]) == 1
    assert "cards/claims.yaml: this file is missing." in capsys.readouterr().err
