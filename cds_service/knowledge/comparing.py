"""What changed between two states of ``cards/``, told field by field in words.

Compares the values the service decides with, not the files: order, comments and layout are no
change.  What a change does to an answer is told by ``cds_service.vignettes.comparing``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import cast

from cds_service.knowledge.model import ClinicalDrug, Code, DatedValue, Knowledge, Threshold

_KINDS: Mapping[str, str] = {
    "thresholds": "threshold",
    "value_sets": "value set",
    "cards": "card",
    "orders": "order",
    "phenotypes": "likely explanation",
    "sources": "source",
}
"""Parts of the knowledge that hold many things of one kind, and what one of them is called."""
_SINGLE = (
    "phrases",
    "claims",
    "mme_factors",
    "clinical_drugs",
    "override_reasons",
    "snooze_days",
    "no_reason_snooze_days",
    "accepted_snooze_days",
    "unchanged_facts_snooze_days",
    "snooze_limits",
    "override_equivalents",
    "automated_claims",
)
_LABELS: Mapping[str, str] = {
    "is_enabled": "switched on",
    "texts": "text",
    "summaries": "headline",
    "notes": "note",
    "points": "points for",
    "claims": "claim",
    "sources": "source",
    "thresholds": "number",
    "codings": "code",
    "fires": "boundary",
    "snooze_days": "days a card stays away after",
    "no_reason_snooze_days": "days a card stays away after no reason",
    "accepted_snooze_days": "days a card stays away after a suggestion was accepted",
    "unchanged_facts_snooze_days": "days a card stays away at most while its facts stay",
    "snooze_limits": "greatest stay away, rows",
    "mme_factors": "factor for RxNorm",
    "clinical_drugs": "RxNorm drug",
    "override_reasons": "override reason",
    "automated_claims": "claim that needs a rule",
    "phrases": "phrase",
}
_SENTENCE_END = re.compile(r"(?<=[.;:!?])\s+|\n+")
_LONGEST_LINE = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One fact that differs; ``before`` or ``after`` is None where it does not exist."""

    kind: str
    id: str
    title: str
    what: str
    before: str | None
    after: str | None

    @property
    def sentence(self) -> str:
        """Return the change in words, without the thing it happened to."""
        if self.before is None:
            return f"{self.what}: added: {self.after}" if self.after else f"{self.what}: added"
        if self.after is None:
            return f"{self.what}: removed, was: {self.before}"
        before, after = _differing(self.before, self.after)
        return f"{self.what}: was: {before}; is now: {after}"


def changes(old: Knowledge, new: Knowledge) -> tuple[Change, ...]:
    """Return every difference, kind by kind and sorted by id."""
    return (*_things(old, new), *_singles(old, new))


def _things(old: Knowledge, new: Knowledge) -> Iterator[Change]:
    for part, kind in _KINDS.items():
        before, after = getattr(old, part), getattr(new, part)
        for name in sorted({*before, *after}):
            newest = after[name] if name in after else before[name]
            for what, (was, now) in _differences(before.get(name), after.get(name)).items():
                yield Change(
                    kind=kind, id=name, title=newest.title, what=what, before=was, after=now
                )


def _singles(old: Knowledge, new: Knowledge) -> Iterator[Change]:
    for part in _SINGLE:
        before = dict(_facts(part, getattr(old, part)))
        after = dict(_facts(part, getattr(new, part)))
        for what, (was, now) in _unequal(before, after).items():
            yield Change(kind="shared", id=part, title="", what=what, before=was, after=now)


def _differences(before: object, after: object) -> dict[str, tuple[str | None, str | None]]:
    """Return each fact that differs; a thing that is wholly new or gone is one difference."""
    if before is None:
        return {"the whole file": (None, "")}
    if after is None:
        return {"the whole file": ("in use", None)}
    return _unequal(_facts_of(before), _facts_of(after))


def _unequal(
    before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    names = [*before, *(name for name in after if name not in before)]
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }


def _facts_of(thing: object) -> dict[str, str]:
    """Return everything a threshold, value set, card, order ... says, each under its name."""
    found: dict[str, str] = {}
    for field in fields(thing):  # type: ignore[arg-type]  # every thing is a dataclass
        found.update(_facts(field.name, getattr(thing, field.name), thing))
    return found


def _facts(name: str, value: object, thing: object = None) -> Iterator[tuple[str, str]]:
    label = _LABELS.get(name, name.replace("_", " "))
    if isinstance(value, Mapping):
        yield from ((f"{label} '{key}'", _text(entry)) for key, entry in value.items())
    elif isinstance(value, tuple | frozenset) and not _is_plain_triple(value):
        for entry in sorted(value, key=str) if isinstance(value, frozenset) else value:
            yield _listed(label, entry, thing)
    else:
        yield label, _text(value)


def _is_plain_triple(value: object) -> bool:
    """Whether *value* is one coding (system, code, display), not a list."""
    return isinstance(value, tuple) and len(value) == 3 and _is_url(value[0])  # noqa: PLR2004


def _is_url(value: object) -> bool:
    return isinstance(value, str) and "://" in value


def _listed(label: str, entry: object, thing: object) -> tuple[str, str]:
    """Return name and content of one entry of a list."""
    match entry:
        case DatedValue() if isinstance(thing, Threshold):
            words = thing.words_on(entry.from_day)
            return (
                f"from {entry.from_day.isoformat()}",
                f"{words} ({entry.source}: {entry.locator})",
            )
        case Code():
            return f"code {entry.system} {entry.code}", _code_words(entry)
        case tuple():
            return f"{label} {_text(entry[0])}", ", ".join(_text(part) for part in entry[1:])
        case _:
            return f"{label} {_text(entry)}", "named"


def _code_words(code: Code) -> str:
    words = [code.display, f"mark {code.mark}"]
    if not code.is_enabled:
        words.append("switched off")
    if code.match.value != "exact":
        words.append("every code that begins so")
    if code.needs.value != "nothing":
        words.append(f"only with {code.needs.value}")
    if code.names:
        words.append(f"also {', '.join(code.names)}")
    return ", ".join(words)


def _text(value: object) -> str:
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    return str(value)


def _of_parts(value: object) -> str:
    """Return what a small dataclass inside a thing says."""
    if not is_dataclass(value) or isinstance(value, type):
        return str(value)
    parts = [getattr(value, field.name) for field in fields(value) if field.name != "id"]
    return ", ".join(_text(part) for part in parts)


def _drug_words(drug: ClinicalDrug) -> str:
    held = [*drug.ingredients, *(["other"] if drug.holds_other else [])]
    strength = "" if drug.strength is None else f", {drug.strength} mg in each"
    return f"holds {' '.join(held)}{strength}"


_WRITERS: tuple[tuple[type, Callable[[object], str]], ...] = (
    (bool, lambda value: "yes" if value else "no"),
    (ClinicalDrug, lambda value: _drug_words(cast("ClinicalDrug", value))),
    (Enum, lambda value: str(getattr(value, "value", "")).replace("_", " ")),
    (tuple, lambda value: ", ".join(_text(part) for part in _parts(value))),
    (type(None), lambda _: "none"),
    (object, lambda value: _of_parts(value).strip()),
)


def _parts(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _differing(before: str, after: str) -> tuple[str, str]:
    """Return both texts, or of long ones only the sentences that differ."""
    if max(len(before), len(after)) <= _LONGEST_LINE:
        return before, after
    old, new = _SENTENCE_END.split(before), _SENTENCE_END.split(after)
    gone = [sentence for sentence in old if sentence not in new]
    come = [sentence for sentence in new if sentence not in old]
    return " ".join(gone) or "(only left out)", " ".join(come) or "(left out)"
