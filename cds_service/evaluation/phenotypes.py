"""Which explanations are most likely?  They order the differential and never trigger a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from cds_service.evaluation.assessment import Explanation, Finding
from cds_service.evaluation.case import Case
from cds_service.evaluation.pain import PERSISTENT, Driver
from cds_service.evaluation.rules.weighing import is_met
from cds_service.knowledge.model import Phenotype

Findings = Mapping[str, Finding]
Point = tuple[str, bool]


def _infection(case: Case, findings: Findings) -> list[Point]:
    del case
    return [
        ("red-flag", is_met(findings, "RF-INF")),
        ("warning", is_met(findings, "RF-INF-W")),
    ]


def _wrong_level(case: Case, findings: Findings) -> list[Point]:
    del case
    return [("level-differs", is_met(findings, "CK-LEVEL"))]


def _nerve_injury(case: Case, findings: Findings) -> list[Point]:
    del findings
    early = case.limits
    motor = any(
        d.onset is not None and early.met("nerve-injury-onset-last", d.onset)
        for d in case.motor.new
    )
    sensory = any(
        sign.day >= 0 and early.met("nerve-injury-onset-last", sign.day) and sign.is_dated
        for sign in case.signs.of("sensory-deficit")
    )
    return [("early-motor", motor), ("early-sensory", sensory)]


def _is_abrupt(case: Case) -> bool:
    """Return whether the driver's scores jump between two consecutive days around the return.

    Units:
        The number is one of pain scores (0-10); as many points of the ODI (0-100) are no jump.
    """
    leading = case.pain.leading
    if leading is None or case.pain.driver is Driver.ODI:
        return False
    pairs = zip(leading.series, leading.series[1:], strict=False)
    return any(
        case.limits.met("abrupt-change", later.value - first.value) for first, later in pairs
    )


def _recurrent_herniation(case: Case, findings: Findings) -> list[Point]:
    del findings
    coded = ("coded", "disc-herniation" in case.conclusions)
    if case.onset is None or not case.is_true_return:
        return [coded]
    after_discectomy = "discectomy" in case.operation.types
    usual = case.limits.met("recurrence-usual-onset-last", case.onset)
    in_year = case.limits.met("recurrence-year-onset-last", case.onset)
    return [
        ("return-after-discectomy", after_discectomy),
        ("return", not after_discectomy),
        ("onset-early", usual),
        ("onset-within-year", in_year and not usual),
        ("leg-dominant", case.is_leg_dominant),
        ("abrupt", _is_abrupt(case)),
        coded,
    ]


def _persists(case: Case) -> bool:
    return case.pain.persists.is_yes


def _recurrent_stenosis(case: Case, findings: Findings) -> list[Point]:
    del findings
    late = case.onset is not None and case.limits.met("stenosis-onset", case.onset)
    old = _persists(case) and case.at("stenosis-day").is_yes
    is_long = case.limits.met("levels-many", case.operation.level_count or 1)
    fused = old and case.operation.is_fusion
    return [
        ("late-return", late),
        ("persistent", old),
        ("years", old and case.at("stenosis-years").is_yes),
        ("decompression", old and "decompression" in case.operation.types),
        ("fusion", fused and not is_long),
        ("long-fusion", fused and is_long),
        ("claudication", bool(case.signs.of("neurogenic-claudication"))),
        ("coded", "spinal-stenosis" in case.conclusions),
    ]


def _pseudarthrosis(case: Case, findings: Findings) -> list[Point]:
    del findings
    coded = ("coded", _has_non_union(case))
    if not case.operation.is_fusion or not case.pain.site_is(Driver.BACK, PERSISTENT).is_yes:
        return [coded]
    late = case.at("fusion-ct-day").is_yes
    return [
        ("late-back-pain", late),
        ("back-pain", not late and case.at("workup-day").is_yes),
        ("smoker", case.care.is_smoker.is_yes),
        coded,
    ]


def _has_non_union(case: Case) -> bool:
    return bool(case.signs.conditions("pseudarthrosis")) or "pseudarthrosis" in case.conclusions


def _residual_compression(case: Case, findings: Findings) -> list[Point]:
    del findings
    if not case.has_failed.is_yes:
        return []
    return [
        ("no-relief", True),
        ("workup-day", case.at("workup-day").is_yes),
        ("leg-dominant", case.is_leg_dominant),
        ("adequate-mri", case.has_adequate_mri.is_yes),
    ]


def _foraminal_residual(case: Case, findings: Findings) -> list[Point]:
    del findings
    if case.operation.is_fusion or not case.has_failed.is_yes:
        return []
    before = any(sign.day < 0 for sign in case.signs.conditions("foraminal-stenosis"))
    return [("foraminal-before", before)]


def _diagnosis(case: Case, findings: Findings) -> list[Point]:
    del findings
    if not case.has_failed.is_yes:
        return []
    return [
        ("workup-day", case.at("workup-day").is_yes),
        ("competing", bool(case.signs.conditions("competing-diagnosis"))),
    ]


def _neuropathic(case: Case, findings: Findings) -> list[Point]:
    del findings
    positive = (
        _persists(case)
        and case.has_adequate_mri.is_yes
        and case.has_structural_target.is_no
        and case.care.is_neuropathic.is_yes
    )
    if not positive:
        return []
    return [("screen", True), ("half-year", case.at("neuropathic-day").is_yes)]


def _sacroiliac(case: Case, findings: Findings) -> list[Point]:
    del findings
    if not case.signs.on_record("sacroiliac-pain"):
        return []
    return [
        ("coded", True),
        ("fusion", case.operation.is_fusion),
        ("back-dominant", case.is_back_dominant),
    ]


def _inflammation(case: Case, findings: Findings) -> list[Point]:
    del findings
    if not case.is_early_return:
        return []
    grace = case.at("inflammation-grace").is_yes
    return [("in-grace", grace), ("after-grace", not grace)]


def _deconditioning(case: Case, findings: Findings) -> list[Point]:
    del findings
    if not _persists(case) or not case.at("deconditioning-day").is_yes:
        return []
    return [
        ("no-therapy", case.care.is_therapy_done.is_no),
        ("back-dominant", case.is_back_dominant),
    ]


def _fibrosis(case: Case, findings: Findings) -> list[Point]:
    del findings
    window = (
        case.onset is not None
        and case.limits.within("scar-onset-first", "scar-onset-last", case.onset)
        and not _is_abrupt(case)
    )
    imaged = any("arachnoiditis" in report.conclusions for report in case.chart.reports)
    several = case.limits.met("surgeries-several", case.operation.surgery_count)
    return [("scar-window", window), ("imaging", imaged), ("several-operations", several)]


_EVERY: Mapping[str, Callable[[Case, Findings], list[Point]]] = {
    "infection": _infection,
    "wrong-level": _wrong_level,
    "nerve-injury": _nerve_injury,
    "recurrent-herniation": _recurrent_herniation,
    "recurrent-stenosis": _recurrent_stenosis,
    "pseudarthrosis": _pseudarthrosis,
    "residual-compression": _residual_compression,
    "foraminal-residual": _foraminal_residual,
    "diagnosis": _diagnosis,
    "neuropathic": _neuropathic,
    "sij": _sacroiliac,
    "inflammation": _inflammation,
    "deconditioning": _deconditioning,
    "fibrosis": _fibrosis,
}


def explain(case: Case, findings: Findings) -> tuple[Explanation, ...]:
    """Return every explanation that has points, the likeliest first.

    Scar is never first unless an imaging report says so; alone it is "only by exclusion".
    """
    phenotypes = case.limits.knowledge.phenotypes
    scored = []
    for name, points in _EVERY.items():
        reasons = [reason for reason, holds in points(case, findings) if holds]
        if reasons:
            scored.append(_scored(phenotypes[name], reasons))
    ranked = sorted(
        (explanation for explanation in scored if explanation.points > 0),
        key=lambda explanation: (-explanation.points, phenotypes[explanation.phenotype].order),
    )
    return tuple(_without_scar_first(ranked))


def _scored(phenotype: Phenotype, reasons: Sequence[str]) -> Explanation:
    total = sum(phenotype.points[name].points for name in reasons)
    return Explanation(phenotype=phenotype.id, points=total, reasons=tuple(reasons))


def _without_scar_first(ranked: list[Explanation]) -> list[Explanation]:
    if not ranked or ranked[0].phenotype != "fibrosis" or "imaging" in ranked[0].reasons:
        return ranked
    scar, *others = ranked
    if not others:
        return [replace(scar, is_only_by_exclusion=True)]
    first, *rest = others
    return [first, scar, *rest]
