"""Do the files of ``cards/`` fit together?

Asked at start-up and by ``cds-service check-knowledge``: every name that is mentioned exists,
headlines fit, value sets that must not overlap do not.  Run as a module
(``python -m cds_service.knowledge.checking``) it says what is wrong; with ``--write`` it renews the
table of cards in ``cards/README.md``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import combinations, pairwise
from pathlib import Path

from cds_service.errors import KnowledgeError
from cds_service.knowledge.model import (
    PLACEHOLDER,
    SUMMARY_MOST,
    CardTemplate,
    Code,
    Knowledge,
    Match,
    Threshold,
    ValueSet,
    words_to_fill,
)
from cds_service.knowledge.numbers import number_problems

LAST_ROW = 36

PLACEHOLDERS: Mapping[str, int] = {
    "benzo": 22,
    "condition": 30,
    "course": 20,
    "date": 10,
    "days": 5,
    "dss": 5,
    "finding": 30,
    "flag": 40,
    "grade": 3,
    "indication": 22,
    "keys": 50,
    "low": 4,
    "measure": 22,
    "missing": 80,
    "mme": 6,
    "months": 4,
    "muscle": 17,
    "onset": 5,
    "operation": 22,
    "reason": 100,
    "scale": 26,
    "score": 4,
    "side": 17,
    "sign": 40,
    "since": 10,
    "type": 40,
    "volume": 5,
}
"""What may stand in a headline, with the most characters that ever fill it.  Lists are shortened
to "and n more" by the service, so the longest single item counts."""
_MORE_IN_TEXTS = frozenset(
    {
        "after",
        "age",
        "before",
        "count",
        "findings",
        "flags",
        "implant",
        "interval",
        "on",
        "operated",
        "signs",
        "site",
        "surgeries",
        "types",
        "value",
    }
)
"""What may stand in texts and notes besides; they may be of any length."""

DISJOINT: tuple[tuple[str, ...], ...] = (
    ("smoker", "ex-smoker", "never-smoker"),
    ("infection-spinal", "infection-spinal-if-text-or-early", "infection-sign"),
    ("haematoma-spinal", "haematoma-other"),
    ("motor-weakness", "motor-paresis", "motor-paraplegia"),
    ("site-leg", "site-back", "site-other"),
    ("site-leg", "site-lumbar", "site-other"),
    ("side-left", "side-right", "side-both"),
    ("pain-score", "pain-vas", "odi"),
    ("level-l1-l2", "level-l2-l3", "level-l3-l4", "level-l4-l5", "level-l5-s1"),
    ("answer-normal", "answer-reduced", "answer-absent", "answer-present", "answer-no"),
    *(
        ("not-an-index-operation", operation)
        for operation in ("decompression", "discectomy", "fusion", "spine-surgery-unspecified")
    ),
)
"""Groups of value sets no two of which may share an enabled code."""

TABLE_START = "<!-- cards: written by python -m cds_service.knowledge.checking --write -->"
TABLE_END = "<!-- end of cards -->"

_BRACE = re.compile(r"[{}]")
_CLAIM = re.compile(r"\bS[0-4]-\d\d\b")


def problems(
    knowledge: Knowledge,
    *,
    code_thresholds: Collection[str] | None = None,
    has_site: bool = False,
) -> list[str]:
    """Return what does not fit together, each with file and what to do; nothing means all is well.

    With *has_site* some files are a site's, which need not rest on our claims.
    *code_thresholds* are the thresholds the rules read; when given, thresholds that neither a rule
    nor a card uses are named, and names the rules use that do not exist.
    """
    found = [
        *_threshold_problems(knowledge),
        *number_problems(knowledge),
        *_value_set_problems(knowledge),
        *_card_problems(knowledge),
        *_row_problems(knowledge),
        *_phenotype_problems(knowledge),
        *_order_problems(knowledge),
    ]
    if not has_site:
        found += _claim_problems(knowledge)
    if code_thresholds is not None:
        found += _threshold_use_problems(knowledge, code_thresholds)
    return found


def _threshold_problems(knowledge: Knowledge) -> Iterator[str]:
    for threshold in knowledge.thresholds.values():
        name = f"cards/thresholds/{threshold.id}.yaml"
        for dated in threshold.values:
            if dated.source not in knowledge.sources:
                yield _unknown(name, "source", dated.source, "sources.yaml")
            yield from _unknown_claims(knowledge, name, _CLAIM.findall(dated.locator))
        if any(later.from_day <= earlier.from_day for earlier, later in pairwise(threshold.values)):
            yield f"{name}: the days under 'from' do not ascend. Sort the lines, each day once."


def _value_set_problems(knowledge: Knowledge) -> Iterator[str]:
    for value_set in knowledge.value_sets.values():
        yield from _code_problems(value_set, f"cards/value-sets/{value_set.id}.yaml")
    for group in DISJOINT:
        for first, second in combinations(group, 2):
            yield from _overlap_problems(knowledge, first, second)


def _code_problems(value_set: ValueSet, name: str) -> Iterator[str]:
    listed = Counter((code.system, code.code) for code in value_set.codes)
    for (system, code), times in listed.items():
        if times > 1:
            yield f"{name}: {system} {code} is listed twice. Keep one of the lines."
    for entry in value_set.codes:
        if entry.mark == "M" and entry.is_enabled:
            yield (
                f"{name}: {entry.system} {entry.code} is from memory (mark M) and not switched "
                "off. Check it and change the mark, or write enabled: false."
            )


def _overlap_problems(knowledge: Knowledge, first: str, second: str) -> Iterator[str]:
    missing = [each for each in (first, second) if each not in knowledge.value_sets]
    if missing:
        yield f"cards/value-sets/{missing[0]}.yaml: this file is missing. Add it."
        return
    sets = knowledge.value_sets
    for code in _shared(sets[first], sets[second]):
        yield (
            f"cards/value-sets/{first}.yaml and {second}.yaml: {code.system} {code.code} is in "
            "both, but these two must not overlap. Remove it from one."
        )


def _shared(first: ValueSet, second: ValueSet) -> list[Code]:
    return [
        mine
        for mine in first.codes
        if mine.is_enabled and any(_meet(mine, other) for other in second.codes if other.is_enabled)
    ]


def _meet(first: Code, second: Code) -> bool:
    if first.system != second.system:
        return False
    return (
        first.code == second.code
        or (first.match is Match.PREFIX and second.code.startswith(first.code))
        or (second.match is Match.PREFIX and first.code.startswith(second.code))
    )


def _card_problems(knowledge: Knowledge) -> Iterator[str]:
    for card in knowledge.cards.values():
        name = f"cards/templates/{card.id.lower()}.yaml"
        for source in card.sources:
            if source not in knowledge.sources:
                yield _unknown(name, "source", source, "sources.yaml")
        for threshold in (*card.thresholds, *_thresholds_in_texts(card)):
            if threshold not in knowledge.thresholds:
                yield _unknown(name, "threshold", threshold, "thresholds/")
        yield from _unknown_claims(knowledge, name, card.claims)
        for variant, summary in card.summaries.items():
            yield from _summary_problems(knowledge, f"{name}, headline '{variant}'", summary)
        yield from _text_problems(card, name)


def _thresholds_in_texts(card: CardTemplate) -> list[str]:
    return _thresholds_in(*card.summaries.values(), *card.texts.values(), *card.notes.values())


def _thresholds_in(*texts: str) -> list[str]:
    return [
        match["name"] for text in texts for match in PLACEHOLDER.finditer(text) if match["kind"]
    ]


def _text_problems(card: CardTemplate, name: str) -> Iterator[str]:
    every = {**card.summaries, **card.texts, **card.notes}
    for block, text in every.items():
        if _BRACE.search(PLACEHOLDER.sub("", text)):
            yield (
                f"{name}, '{block}': a brace stands alone, or its word has blanks or capitals. "
                "Write {word}, in small letters and without blanks."
            )
    for block, text in (*card.texts.items(), *card.notes.items()):
        for word in sorted(words_to_fill(text) - PLACEHOLDERS.keys() - _MORE_IN_TEXTS):
            yield f"{name}, '{block}': nothing fills '{{{word}}}'. Correct its name."


def _summary_problems(knowledge: Knowledge, name: str, summary: str) -> Iterator[str]:
    longest = len(PLACEHOLDER.sub("", summary))
    for match in PLACEHOLDER.finditer(summary):
        if match["kind"]:
            threshold = knowledge.thresholds.get(match["name"])
            longest += _longest_words(threshold) if threshold else 0
        elif match["name"] not in PLACEHOLDERS:
            known = ", ".join(PLACEHOLDERS)
            yield f"{name}: nothing fills '{{{match['name']}}}'. Use one of {known}."
        else:
            longest += PLACEHOLDERS[match["name"]]
    if longest > SUMMARY_MOST:
        yield (
            f"{name}: with its longest words it has {longest} characters; at most {SUMMARY_MOST} "
            "fit. Use fewer words."
        )


def _longest_words(threshold: Threshold) -> int:
    return max(len(threshold.words_on(each.from_day)) for each in threshold.values)


def _row_problems(knowledge: Knowledge) -> Iterator[str]:
    rows = Counter(card.row for card in knowledge.cards.values())
    for row in range(1, LAST_ROW + 1):
        if rows[row] != 1:
            yield (
                f"cards/templates: {rows[row]} cards have row {row}; every row from 1 to "
                f"{LAST_ROW} needs exactly one. Add or correct a card."
            )


def _phenotype_problems(knowledge: Knowledge) -> Iterator[str]:
    orders = Counter(phenotype.order for phenotype in knowledge.phenotypes.values())
    for phenotype in knowledge.phenotypes.values():
        name = f"cards/phenotypes/{phenotype.id}.yaml"
        yield from _unknown_claims(knowledge, name, phenotype.claims)
        if orders[phenotype.order] > 1:
            yield f"{name}: another file has order {phenotype.order}. Give each its own place."
        texts = [point.words for point in phenotype.points.values()]
        for threshold in _thresholds_in(*texts):
            if threshold not in knowledge.thresholds:
                yield _unknown(name, "threshold", threshold, "thresholds/")
        for word in sorted(word for text in texts for word in words_to_fill(text)):
            yield f"{name}: nothing fills '{{{word}}}'. Write it out."


def _order_problems(knowledge: Knowledge) -> Iterator[str]:
    for order in knowledge.orders.values():
        for concept, _ in order.read_as:
            if concept not in knowledge.value_sets:
                yield _unknown(f"cards/orders/{order.id}.yaml", "concept", concept, "value-sets/")


def _claim_problems(knowledge: Knowledge) -> Iterator[str]:
    cited = {claim for card in knowledge.cards.values() for claim in card.claims}
    cited.update(claim for each in knowledge.phenotypes.values() for claim in each.claims)
    for threshold in knowledge.thresholds.values():
        cited.update(claim for each in threshold.values for claim in _CLAIM.findall(each.locator))
    for claim in sorted(knowledge.automated_claims - cited):
        yield (
            f"cards/claims.yaml: {claim} is marked automated, but no card, threshold or phenotype "
            "cites it. Cite it where it is used, or write automated: false."
        )


def _threshold_use_problems(knowledge: Knowledge, in_code: Collection[str]) -> Iterator[str]:
    used = set(in_code)
    for card in knowledge.cards.values():
        used.update((*card.thresholds, *_thresholds_in_texts(card)))
    for threshold in sorted(set(knowledge.thresholds) - used):
        yield f"cards/thresholds/{threshold}.yaml: nothing uses this number. Use or remove it."
    for threshold in sorted(set(in_code) - set(knowledge.thresholds)):
        yield f"cards/thresholds/{threshold}.yaml: a rule reads this number. Add the file."


def _unknown_claims(knowledge: Knowledge, name: str, claims: Collection[str]) -> Iterator[str]:
    for claim in claims:
        if claim not in knowledge.claims:
            yield _unknown(name, "statement", claim, "claims.yaml")


def _unknown(name: str, kind: str, key: str, where: str) -> str:
    own = " (a site: in its own sources.yaml)" if kind == "source" else ""
    fault = f"{name}: the {kind} '{key}' is not in cards/{where}."
    return f"{fault} Correct its name, or add it there{own}."


def render_readme_table(knowledge: Knowledge) -> str:
    """Return all cards as a Markdown table, in the order in which they are shown."""
    lines = [
        "| row | card | usually | says | numbers | rests on | status |",
        "|---|---|---|---|---|---|---|",
    ]
    for card in sorted(knowledge.cards.values(), key=lambda each: each.row):
        numbers = ", ".join(
            f"[{key}](thresholds/{key}.yaml) {_in_words(knowledge.thresholds[key])}"
            for key in card.thresholds
        )
        status = card.status if card.is_enabled else f"{card.status}, switched off"
        cells = (
            str(card.row),
            f"[{card.id}](templates/{card.id.lower()}.yaml)",
            card.indicator,
            card.summaries["default"],
            numbers,
            ", ".join(card.sources),
            status,
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _in_words(threshold: Threshold) -> str:
    return f"({threshold.words_on(threshold.values[-1].from_day)})"


def readme_with_table(readme: str, table: str) -> str:
    """Return *readme* with the table between its two markers renewed.

    Raises:
        KnowledgeError: A marker is missing.
    """
    before, start, rest = readme.partition(TABLE_START)
    _, end, after = rest.partition(TABLE_END)
    if not start or not end:
        raise KnowledgeError(
            "cards/README.md: the markers around the table of cards are missing. "
            f"Write '{TABLE_START}' and '{TABLE_END}' on lines of their own."
        )
    return f"{before}{start}\n\n{table}\n\n{end}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Check ``cards/`` and the table in its README; return 0 if all is well."""
    # Loading asks this module whether all fits together, so it cannot be imported above.
    from cds_service.knowledge.loading import cards_folder, load_knowledge  # noqa: PLC0415

    parser = argparse.ArgumentParser(description="Check cards/ and its table of cards.")
    parser.add_argument("--write", action="store_true", help="renew the table in cards/README.md")
    parser.add_argument("--cards", type=Path, default=None, help="folder to check (cards/)")
    chosen = parser.parse_args(arguments)
    try:
        folder = chosen.cards or cards_folder()
        knowledge = load_knowledge(folder)
        page = folder / "README.md"
        written = page.read_text(encoding="utf-8")
        renewed = readme_with_table(written, render_readme_table(knowledge))
    except KnowledgeError as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    if chosen.write:
        page.write_text(renewed, encoding="utf-8")
    elif renewed != written:
        sys.stderr.write("cards/README.md: the table of cards is out of date. Run make cards.\n")
        return 1
    sys.stdout.write(f"cards/ {knowledge.version}: all files fit together.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
