"""The numbers of ``cards/thresholds``, compared with a table written by hand from the rule set."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cds_service.knowledge.model import DatedValue, Fires, Knowledge, Threshold

EXPECTED = """
age-adult at_or_above 18 a
workup-day at_or_above 90 d
neuro-permanent-day above 365 d
inflammation-onset-first at_or_above 2 d
inflammation-onset-last at_or_below 7 d
inflammation-grace at_or_below 41 d
scar-onset-first at_or_above 42 d
scar-onset-last at_or_below 84 d
mri-readable-day at_or_above 42 d
early-reading-caveat below 180 d
imaging-fresh at_or_below 180 d
fusion-ct-day at_or_above 365 d
mri-late-day at_or_above 730 d
mri-late-age at_or_below 730 d
fusion-back-day at_or_above 180 d
stage-merge at_or_below 14 d
xray-day at_or_above 90 d
xray-flexion-fusion-day at_or_above 180 d
emg-age at_or_above 21 d
emg-age-max at_or_below 365 d
emg-done-age at_or_below 365 d
motor-fresh at_or_below 180 d
motor-deficit-size at_or_above 1 {score}
motor-severe-grade at_or_below 3 {score}
motor-recent at_or_below 14 d
motor-coded-weakness exactly 4 {score}
motor-coded-paresis exactly 3 {score}
motor-coded-paraplegia exactly 0 {score}
motor-normal-grade exactly 5 {score}
pt-day at_or_above 28 d
pt-day-fusion at_or_above 84 d
pt-max-day at_or_below 3650 d
pt-count-day at_or_above 14 d
pt-recent at_or_below 180 d
pt-trial-age at_or_above 42 d
drug-day at_or_above 28 d
drug-days at_or_above 28 d
pain-referral-drug-classes at_or_above 1 {count}
scs-day at_or_above 180 d
scs-leg-pain at_or_above 5 {score}
scs-run at_or_above 180 d
scs-drug-classes at_or_above 2 {count}
scs-missing-max at_or_below 2 {count}
pain-hot at_or_above 4 {score}
pain-low at_or_below 3 {score}
pain-severe at_or_above 7 {score}
relief-day at_or_above 3 d
relief-day-leg at_or_above 1 d
series-first-day at_or_above 1 d
no-baseline-day at_or_below 365 d
no-baseline-values at_or_above 2 {count}
pain-diagnosis-recent at_or_below 365 d
recurrence-recheck at_or_above 14 d
pain-change at_or_above 2 {score}
odi-change at_or_above 10 {score}
change-percent at_or_above 30 %
odi-hot above 22 {score}
odi-low at_or_below 22 {score}
score-fresh at_or_below 60 d
baseline-window at_or_below 90 d
improving-lookback-first at_or_above 21 d
improving-lookback-last at_or_below 60 d
worsening-lookback at_or_above 14 d
red-flag-recent at_or_below 14 d
urinary-late-day at_or_above 3 d
early-retention-until at_or_below 14 d
cauda-isolated-day above 90 d
pvr-volume at_or_above 200 mL
fever-temperature at_or_above 38.0 Cel
fever-day at_or_above 3 d
fever-any-age at_or_below 2 d
crp-absolute above 10 mg/L
crp-absolute-day at_or_above 15 d
crp-rise-factor at_or_above 1.25 1
crp-rise-day at_or_above 3 d
esr-high above 40 mm/h
esr-day at_or_above 43 d
wbc-high above 12.0 10*9/L
wbc-day at_or_above 8 d
axial-rise-day at_or_above 8 d
infection-day at_or_below 365 d
infection-coded-age at_or_below 90 d
wound-age at_or_below 30 d
infection-sign-day at_or_below 90 d
infection-signs at_or_above 2 {count}
crp-axial-day above 90 d
crp-fresh at_or_below 14 d
discitis-day at_or_below 120 d
crp-just-done at_or_below 2 d
other-cause-age at_or_below 365 d
haematoma-day at_or_below 7 d
haematoma-pain at_or_above 8 {score}
haematoma-rise at_or_above 3 {score}
haematoma-coded-age at_or_below 14 d
csf-leak-day at_or_below 90 d
self-harm-age at_or_below 30 d
phq9-item9 at_or_above 1 {score}
egfr-low below 30 mL/min/{1.73_m2}
mme-high at_or_above 50 {MME}/d
opioid-days at_or_above 28 d
opioid-day at_or_above 90 d
opioid-day-any at_or_below 365 d
dn4 at_or_above 4 {score}
paindetect at_or_above 19 {score}
lanss at_or_above 12 {score}
phq9 at_or_above 10 {score}
gad7 at_or_above 10 {score}
pcs at_or_above 30 {score}
sij-tests at_or_above 3 {score}
screen-fresh at_or_below 180 d
order-lookback at_or_below 90 d
order-lookback-long at_or_below 180 d
order-lookback-year at_or_below 365 d
draft-age at_or_below 1 d
order-first-day at_or_above 1 d
data-window-early-first at_or_above 42 d
data-window-early-last at_or_below 140 d
data-window-late-first at_or_above 270 d
data-window-late-last at_or_below 455 d
data-window-diagnosis-last at_or_below 3650 d
data-again at_or_above 30 d
level-indication-age at_or_below 90 d
early-watch-first at_or_above 14 d
recurrence-first-onset at_or_above 8 d
dominance-margin at_or_above 1 {score}
levels-several at_or_above 2 {count}
levels-many at_or_above 3 {count}
surgeries-several at_or_above 2 {count}
neuro-onset-last at_or_below 90 d
pregnancy-age-first at_or_above 12 a
pregnancy-age-last at_or_below 55 a
pregnancy-fresh at_or_below 300 d
smoking-fusion-day at_or_below 365 d
recurrence-usual-onset-last at_or_below 89 d
recurrence-year-onset-last at_or_below 365 d
stenosis-onset at_or_above 366 d
stenosis-day at_or_above 366 d
stenosis-years at_or_above 730 d
abrupt-change at_or_above 4 {score}
nerve-injury-onset-last at_or_below 7 d
deconditioning-day at_or_above 42 d
neuropathic-day at_or_above 180 d
"""

ROWS = [line.split() for line in EXPECTED.strip().splitlines()]


@pytest.mark.parametrize(("name", "fires", "value", "unit"), ROWS, ids=[row[0] for row in ROWS])
def test_threshold_has_its_number_boundary_and_unit(
    knowledge: Knowledge, name: str, fires: str, value: str, unit: str
) -> None:
    """A number, its unit and its boundary word are those of the rule set."""
    threshold = knowledge.thresholds[name]
    in_force = threshold.value_on(date(2026, 1, 1)).value
    assert (threshold.fires.value, in_force, threshold.unit) == (fires, Decimal(value), unit)


def test_thresholds_hold_no_number_outside_the_table(knowledge: Knowledge) -> None:
    """A number that nobody wrote into the table of this test is noticed."""
    assert set(knowledge.thresholds) == {row[0] for row in ROWS}


def _opioid_dose(*values: tuple[date, str]) -> Threshold:
    dated = tuple(
        DatedValue(from_day=day, value=Decimal(value), source="s", locator="l")
        for day, value in values
    )
    return Threshold(
        id="mme-high",
        title="Dose",
        unit="{MME}/d",
        unit_shown="MME/day",
        fires=Fires.AT_OR_ABOVE,
        values=dated,
        status="draft",
    )


@pytest.mark.parametrize(
    ("day", "value"),
    [
        (date(2022, 11, 3), "90"),
        (date(2022, 11, 4), "50"),
        (date(2026, 1, 1), "50"),
        (date(1999, 1, 1), "90"),
    ],
)
def test_threshold_value_changes_on_its_first_day(day: date, value: str) -> None:
    """The new number applies from its first day on; days before the first entry use the first."""
    threshold = _opioid_dose((date(2016, 3, 15), "90"), (date(2022, 11, 4), "50"))
    assert threshold.value_on(day).value == Decimal(value)


def test_thresholds_keep_decimal_fractions_exact(knowledge: Knowledge) -> None:
    """A factor of 1.25 is exactly 1.25, so that a rise of just a quarter counts."""
    rise = knowledge.thresholds["crp-rise-factor"].value_on(date(2026, 1, 1)).value
    assert Decimal(40) * rise == Decimal(50)
