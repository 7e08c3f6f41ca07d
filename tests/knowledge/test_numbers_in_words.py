"""A number written out on a card has a source that the card cites, or it is a placeholder."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cds_service.knowledge.model import Knowledge

STATED = [
    # card, the words, the source or statement they rest on
    ("RF-CES", "within 4 hours of the request", "bmj-cauda-equina"),
    ("RF-EDH", "evacuation within hours gives the better recovery", "barrow-2000"),
    ("RF-EDH", "within the first day", "barrow-2000"),
    ("RF-EDH", "up to a week after surgery", "anno-2019"),
    ("RF-INF", "normal by day 5 to 14", "thelander-larsson"),
    ("RF-INF-W", "four in ten patients", "mok-2008"),
    ("IMG-MRI-RTR", "above 6 months", "recurrence-definition-2012"),
    ("EMG-MOTOR", "platelets below 50,000 or INR above 1.5 to 2.0", "aanem-2021"),
    ("EMG-RAD", "platelets below 50,000 or INR above 1.5 to 2.0", "aanem-2021"),
    ("EMG-MOTOR", "many months after lumbar surgery", "spine-secrets-electrodiagnosis"),
    ("EARLY-INFLAM", "in the first week after surgery", "S1-09"),
    ("EARLY-WATCH", "one to two in ten patients", "S0-06"),
    ("SCS-EVAL", "NICE TA159 (2008; recommendation)", "nice-ta159"),
    ("SCS-EVAL", "lasts 6 months despite conventional care", "nice-ta159"),
    ("SCS-EVAL", "in 48 % against 9 % at 6 months", "nice-ta159"),
    ("SCS-EVAL", "Cochrane 2023 (13 studies, 699 participants", "cochrane-cd014789"),
    ("SCS-EVAL", "Hara 2022 (JAMA, 50 patients", "hara-2022"),
    ("SCS-PREREQ", "NICE TA159", "nice-ta159"),
    ("SCS-PREREQ", "Cochrane 2023", "cochrane-cd014789"),
    ("SCS-PREREQ", "Hara 2022 (JAMA, 50 patients", "hara-2022"),
    ("SIJ", "12 in 100 patients", "sij-after-fusion"),
    ("NEURO-PERM", "up to a year", "S0-08"),
]
_PLACEHOLDER = re.compile(r"\{[^}]*\}")
_SCALE = re.compile(
    r"\{months\} months|\{(?:score|grade)\}/\d+|\(0-10, each by itself\)|PHQ-9 item 9|PHQ-9"
)
_NUMBER = re.compile(
    r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|half)\s+(?:in|days?|weeks?|months?|years?)\b"
    r"|\b(?:weeks?|months?|years?|hours?)\b",
    re.IGNORECASE,
)


def _texts(knowledge: Knowledge, card: str) -> Iterator[str]:
    template = knowledge.cards[card]
    yield from (*template.summaries.values(), *template.notes.values())
    for block, text in template.texts.items():
        if block not in {"appears", "withheld"}:
            yield text


@pytest.mark.parametrize(("card", "words", "rests_on"), STATED)
def test_stated_number_is_cited(card: str, words: str, rests_on: str, knowledge: Knowledge) -> None:
    """The card still says so, and cites the source or statement the number comes from."""
    template = knowledge.cards[card]
    assert words in "\n".join(_texts(knowledge, card))
    assert rests_on in {*template.sources, *template.claims}


def test_no_other_number_is_written_out(knowledge: Knowledge) -> None:
    """Any other number on a card is a placeholder, so text and rule cannot drift apart."""
    found = []
    for card in knowledge.cards:
        for text in _texts(knowledge, card):
            rest = _SCALE.sub("", text)
            for stated, words, _ in STATED:
                rest = rest.replace(words, "") if stated == card else rest
            rest = _PLACEHOLDER.sub("", rest)
            found += [f"{card}: {line}" for line in rest.splitlines() if _NUMBER.search(line)]
    assert found == []


def test_no_number_is_written_out_in_a_likely_explanation(knowledge: Knowledge) -> None:
    """A site that counts 200 days must not read "within the first year" on its cards."""
    said = [
        _PLACEHOLDER.sub("", point.words)
        for phenotype in knowledge.phenotypes.values()
        for point in phenotype.points.values()
    ]
    general = {"in the first days", "the weeks of inflammation", "in the weeks in which scar grows"}
    numbers = [words for words in said if _NUMBER.search(words)]
    assert [words for words in numbers if not any(each in words for each in general)] == []
