"""How do the contents of ``cards/`` become values of ``knowledge.model``?

Takes what the schemas have already accepted; reads no files and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from cds_service.knowledge.model import (
    NALOXONE,
    RXNORM,
    SYSTEM_URIS,
    CardTemplate,
    ClinicalDrug,
    Code,
    DatedValue,
    Fires,
    Knowledge,
    Match,
    Needs,
    OrderTemplate,
    Phenotype,
    PhenotypePoint,
    Review,
    Source,
    Threshold,
    ValueSet,
)

Built = TypeVar("Built")
_ByCode = dict[tuple[str, str], tuple[tuple[str, Needs], ...]]
Contents = Mapping[str, dict[str, Any]]
"""Path inside ``cards/`` to what the file says."""


def build_knowledge(
    contents: Contents, drugs: Mapping[str, ClinicalDrug], digest: str
) -> Knowledge:
    """Return the frozen knowledge that the files describe."""
    value_sets = _of_folder(contents, "value-sets", _value_set)
    by_code = _by_code(value_sets.values())
    cards = _of_folder(contents, "templates", _card)
    reasons = contents["override-reasons.yaml"]
    claims = contents["claims.yaml"]
    return Knowledge(
        version=contents["knowledge.yaml"]["version"],
        digest=digest,
        thresholds=_of_folder(contents, "thresholds", _threshold),
        value_sets=value_sets,
        sources={key: Source(id=key, **raw) for key, raw in contents["sources.yaml"].items()},
        cards={card.id: card for card in cards.values()},
        orders=_of_folder(contents, "orders", _order),
        phenotypes=_of_folder(contents, "phenotypes", _phenotype),
        phrases=dict(contents["phrases.yaml"]),
        override_reasons=tuple((each["code"], each["display"]) for each in reasons["reasons"]),
        claims={key: raw["words"] for key, raw in claims.items()},
        by_code={**_by_drug(drugs, by_code), **by_code},
        by_prefix=_by_prefix(value_sets.values()),
        mme_factors={
            each["rxnorm"]: _number(each["factor"])
            for each in contents["mme-factors.yaml"]["factors"]
        },
        clinical_drugs=drugs,
        snooze_days={each["code"]: each["silent_days"] for each in reasons["reasons"]},
        no_reason_snooze_days=reasons["no_reason_silent_days"],
        accepted_snooze_days=reasons["accepted_silent_days_at_most"],
        unchanged_facts_snooze_days=reasons["unchanged_facts_silent_days_at_most"],
        snooze_limits=tuple(
            (each["first_row"], each["last_row"], each["silent_days_at_most"])
            for each in reasons["limits"]
        ),
        override_equivalents={each["code"]: tuple(each["same_as"]) for each in reasons["reasons"]},
        automated_claims=frozenset(key for key, raw in claims.items() if raw["automated"]),
    )


def _of_folder(
    contents: Contents, folder: str, build: Callable[[dict[str, Any]], Built]
) -> dict[str, Built]:
    return {
        raw["id"]: build(raw)
        for key, raw in sorted(contents.items())
        if key.startswith(f"{folder}/")
    }


def _number(value: float) -> Decimal:
    """Return the number as it is written: 0.15 stays 0.15."""
    return Decimal(str(value))


def _threshold(raw: dict[str, Any]) -> Threshold:
    return Threshold(
        id=raw["id"],
        title=raw["title"],
        unit=raw["unit"],
        unit_shown=raw["unit_shown"],
        fires=Fires(raw["fires"]),
        values=tuple(
            DatedValue(
                from_day=date.fromisoformat(each["from"]),
                value=_number(each["value"]),
                source=each["source"],
                locator=each["locator"],
            )
            for each in raw["values"]
        ),
        status=raw["status"],
    )


def _code(raw: dict[str, Any]) -> Code:
    return Code(
        system=raw["system"],
        code=raw["code"],
        display=raw["display"],
        mark=raw["mark"],
        match=Match(raw.get("match", Match.EXACT.value)),
        needs=_needs(raw),
        is_enabled=raw.get("enabled", True),
        names=tuple(raw.get("names", ())),
    )


def _needs(raw: dict[str, Any]) -> Needs:
    return Needs(raw.get("needs", Needs.NOTHING.value))


def _value_set(raw: dict[str, Any]) -> ValueSet:
    return ValueSet(
        id=raw["id"],
        title=raw["title"],
        label=raw["label"],
        includes=raw["includes"],
        excludes=raw["excludes"],
        codes=tuple(_code(each) for each in raw["codes"]),
        status=raw["status"],
    )


def _card(raw: dict[str, Any]) -> CardTemplate:
    return CardTemplate(
        id=raw["id"].upper(),
        row=raw["row"],
        title=raw["title"],
        indicator=raw["indicator"],
        summaries=raw["summaries"],
        texts=raw["texts"],
        notes=raw["notes"],
        claims=tuple(raw["claims"]),
        sources=tuple(raw["sources"]),
        thresholds=tuple(raw["thresholds"]),
        not_for=raw["not_for"],
        is_enabled=raw["enabled"],
        status=raw["status"],
        review=_review(raw["reviewed"]),
    )


def _review(raw: Mapping[str, str] | None) -> Review | None:
    if raw is None:
        return None
    return Review(
        by=raw["by"],
        on=date.fromisoformat(raw["date"]),
        again_by=date.fromisoformat(raw["again_by"]),
    )


def _coding(raw: dict[str, Any]) -> tuple[str, str, str]:
    return SYSTEM_URIS[raw["system"]], raw["code"], raw["display"]


def _order(raw: dict[str, Any]) -> OrderTemplate:
    return OrderTemplate(
        id=raw["id"],
        title=raw["title"],
        description=raw["description"],
        category=_coding(raw["category"]) if raw["category"] else None,
        codings=tuple(_coding(each) for each in raw["codings"] if each.get("enabled", True)),
        text=raw["text"],
        body_site=_coding(raw["body_site"]) if raw["body_site"] else None,
        read_as=tuple((each["concept"], _needs(each)) for each in raw["read_as"]),
        status=raw["status"],
    )


def _phenotype(raw: dict[str, Any]) -> Phenotype:
    return Phenotype(
        id=raw["id"],
        title=raw["title"],
        order=raw["order"],
        points={
            each["id"]: PhenotypePoint(id=each["id"], points=each["points"], words=each["words"])
            for each in raw["points"]
        },
        claims=tuple(raw["claims"]),
        status=raw["status"],
    )


def _by_drug(drugs: Mapping[str, ClinicalDrug], by_code: _ByCode) -> _ByCode:
    """Return what each drug means: all that its ingredients mean.

    Naloxone beside another ingredient is no naloxone at hand.
    """
    meanings = {}
    for code, drug in drugs.items():
        names = [name for name in drug.ingredients if name != NALOXONE or drug.is_one]
        found = [meaning for name in names for meaning in by_code.get((RXNORM, name), ())]
        if found:
            meanings[RXNORM, code] = tuple(dict.fromkeys(found))
    return meanings


def _by_code(
    value_sets: Iterable[ValueSet],
) -> _ByCode:
    meanings: _ByCode = {}
    for value_set in value_sets:
        for code in value_set.codes:
            if code.is_enabled and code.match is Match.EXACT:
                key = (code.system, code.code)
                meanings[key] = (*meanings.get(key, ()), (value_set.id, code.needs))
    return meanings


def _by_prefix(
    value_sets: Iterable[ValueSet],
) -> Mapping[str, tuple[tuple[str, str, Needs], ...]]:
    found: dict[str, tuple[tuple[str, str, Needs], ...]] = {}
    for value_set in value_sets:
        for code in value_set.codes:
            if code.is_enabled and code.match is Match.PREFIX:
                row = (code.code, value_set.id, code.needs)
                found[code.system] = (*found.get(code.system, ()), row)
    return found
