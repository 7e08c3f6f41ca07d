"""Which scan may be proposed for this patient?  Shared by every card that proposes an MRI."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from cds_service.chart.facts import MrStatus
from cds_service.chart.supply import Key
from cds_service.evaluation.assessment import Finding, Note, Proposal
from cds_service.evaluation.case import MRI, Case
from cds_service.evaluation.rules.wording import implant_term
from cds_service.evaluation.workup import Dated

CONTRAST = "mri-lumbar-without-and-with-contrast"
PLAIN = "mri-lumbar-without-contrast"
MYELOGRAM = "ct-myelogram-lumbar"
SCAN_KEYS = (
    Key.SERVICE_REQUESTS,
    Key.DIAGNOSTIC_REPORTS,
    Key.PROCEDURES,
    Key.DEVICES,
)
"""The chart parts without which no scan is proposed."""
_WAITING = {"draft": "mri-draft", "on-hold": "mri-on-hold"}
"""The notes on orders by the status in which they wait for somebody."""


class ScanWish(Struct, frozen=True, kw_only=True):
    """What a card wants.

    ``offers_both``: with and without contrast side by side.  ``keeps_contrast``: weak kidneys make
    contrast the second choice instead of taking it off (infection, tumour).
    """

    priority: str
    offers_both: bool = False
    keeps_contrast: bool = False
    since_day: int | None = None
    """MRI done or ordered on or after this day since surgery replaces the order."""


def propose_mri(finding: Finding, case: Case, wish: ScanWish) -> Finding:
    """Add the MRI proposal to *finding*, or the note that stands in its place.

    Beside an MRI nothing else is the recommended choice.

    Missing data:
        Orders, reports, procedures or devices not completely supplied: no MRI is proposed.
    """
    if wish.since_day is not None:
        existing = [scan for scan in _scans(case) if scan.day >= wish.since_day]
        if existing:
            return replace(finding, notes=(*finding.notes, _existing_note(case, existing)))
        workup, since = case.workup, wish.since_day
        done = workup.among(workup.done(MRI), (), from_day=since)
        ordered = workup.among(workup.orders(MRI), (), from_day=since, newest="order-lookback")
        passed = (*finding.passed_over, *done.passed_over, *ordered.passed_over)
        finding = replace(finding, passed_over=passed)
    implants = case.cautions.implants
    if implants:
        return replace(finding, notes=(*finding.notes, implant_note(case)))
    unread = case.workup.unread(SCAN_KEYS)
    if unread:
        return replace(finding, unread=finding.unread | unread, is_order_withheld=True)
    proposals, notes = mri_choices(case, wish)
    others = (replace(proposal, is_recommended=False) for proposal in finding.proposals)
    return replace(
        finding,
        proposals=(*proposals, *others),
        notes=(*finding.notes, *notes),
        is_either_or=len(proposals) > 1 and not finding.proposals,
    )


def mri_choices(case: Case, wish: ScanWish) -> tuple[tuple[Proposal, ...], tuple[Note, ...]]:
    """Return the MRI proposals, the recommended one first, and the notes on contrast."""
    contrast = Proposal(orders=(CONTRAST,), priority=wish.priority, is_recommended=True)
    plain = Proposal(orders=(PLAIN,), priority=wish.priority)
    cautions = case.cautions
    if not cautions.is_contrast_caution:
        return ((contrast, plain) if wish.offers_both else (contrast,)), ()
    plain = replace(plain, is_recommended=True)
    if cautions.is_pregnant:
        return (plain,), (_for_scan("pregnancy-no-contrast"),)
    if cautions.has_gadolinium_allergy:
        return (plain,), (_for_scan("allergy-no-contrast"),)
    if wish.offers_both or wish.keeps_contrast:
        second = replace(contrast, is_recommended=False)
        return (plain, second), (_for_scan("contrast-group-two"),)
    return (plain,), (_for_scan("renal-no-contrast"),)


def _for_scan(key: str) -> Note:
    """Return a note on contrast that the radiologist reads too."""
    return Note(key=key, is_for_order=True, orders=(CONTRAST, PLAIN))


def implant_note(case: Case) -> Note:
    """Return the note that names the implant holding back the MRI.

    Whoever gets an order for another scan reads it too.
    """
    implant = case.cautions.implants[0]
    is_unsafe = implant.mr_status is MrStatus.UNSAFE
    key = "implant-unsafe" if is_unsafe else "implant-unknown"
    words = {"implant": implant_term(implant.kind)}
    return Note(key=key, words=words, is_for_order=True, orders=(MYELOGRAM,))


def _existing_note(case: Case, scans: Sequence[Dated]) -> Note:
    """Return what to do about the MRI on record."""
    waiting = notes_on_waiting(case)
    scan = ([scan for scan in scans if scan.reference not in waiting] or scans)[-1]
    return Note(key=waiting.get(scan.reference, "mri-read-now"), words={"date": scan.written})


def notes_on_waiting(case: Case) -> dict[str, str]:
    """Return the note on each order that nobody carries out as it is, by its reference."""
    orders = case.chart.orders
    return {order.reference: _WAITING[order.status] for order in orders if order.status in _WAITING}


def _scans(case: Case) -> list[Dated]:
    """Return every MRI done or on order, oldest first; an order not done for long is none."""
    orders = case.workup.orders(MRI)
    open_ones = [order for order in orders if case.limits.met("order-lookback", order.age)]
    scans = [*case.workup.done(MRI), *open_ones]
    return sorted(scans, key=lambda scan: (scan.day, scan.reference))
