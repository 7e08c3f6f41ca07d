"""Every row of the decision table, in priority order: the order of the cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cds_service.evaluation.assessment import Finding
from cds_service.evaluation.case import Case
from cds_service.evaluation.rules.bladder import bladder_sign, cauda_equina
from cds_service.evaluation.rules.early import early_inflammation, early_watch
from cds_service.evaluation.rules.electrodiagnosis import later_emg, motor_emg, radicular_emg
from cds_service.evaluation.rules.haematoma import haematoma
from cds_service.evaluation.rules.imaging import (
    alternative_imaging,
    deficit_imaging,
    dynamic_xray,
    failure_imaging,
    fusion_ct,
    return_imaging,
)
from cds_service.evaluation.rules.infection import infection, infection_hint
from cds_service.evaluation.rules.opioids import high_risk_opioid, opioid
from cds_service.evaluation.rules.other_causes import (
    distress,
    permanent_symptoms,
    second_diagnosis,
    smoking,
)
from cds_service.evaluation.rules.other_flags import fluid_leak, other_cause, self_harm
from cds_service.evaluation.rules.recording import missing_score
from cds_service.evaluation.rules.surgery import level_check, surgeon_review
from cds_service.evaluation.rules.treatment import (
    pain_specialist,
    physiotherapy,
    sacroiliac_joint,
    stimulator_evaluation,
    stimulator_prerequisites,
)
from cds_service.evaluation.rules.weakness import motor_emergency
from cds_service.evaluation.rules.weighing import Earlier

Rule = Callable[[Case, Earlier], Finding]

RED_FLAGS: Mapping[str, Rule] = {
    "RF-CES": cauda_equina,
    "RF-MOTOR": motor_emergency,
    "RF-EDH": haematoma,
    "RF-INF": infection,
    "RF-POUR": bladder_sign,
    "RF-INF-W": infection_hint,
    "RF-OTHER": other_cause,
    "RF-CSF": fluid_leak,
    "PSY-SI": self_harm,
}
"""Rows 1-9: evaluated whatever the age, shown even in hospice care."""

WORK_UP: Mapping[str, Rule] = {
    "CK-LEVEL": level_check,
    "SURG-REV": surgeon_review,
    "IMG-MRI-DEF": deficit_imaging,
    "IMG-MRI-RTR": return_imaging,
    "IMG-MRI-NR": failure_imaging,
    "IMG-ALT": alternative_imaging,
    "EMG-MOTOR": motor_emg,
    "CT-FUSION": fusion_ct,
    "XR-DYN": dynamic_xray,
    "EMG-RAD": radicular_emg,
    "EMG-LATER": later_emg,
    "EARLY-INFLAM": early_inflammation,
    "EARLY-WATCH": early_watch,
    "PT-REF": physiotherapy,
    "SCS-EVAL": stimulator_evaluation,
    "SCS-PREREQ": stimulator_prerequisites,
    "PAIN-REF": pain_specialist,
    "SIJ": sacroiliac_joint,
    "DX-RECHECK": second_diagnosis,
    "NEURO-PERM": permanent_symptoms,
    "OPIOID-W": high_risk_opioid,
    "OPIOID": opioid,
    "PSYCH": distress,
    "SMOKE": smoking,
    "DATA-PAIN": missing_score,
}
"""Rows 10-34: for adults, outside hospice care, when no emergency stands alone."""

DATA_DATE = "DATA-DATE"
DATA_PAIN = "DATA-PAIN"
DATA_READ = "DATA-READ"
CARDS = (*RED_FLAGS, *WORK_UP, DATA_DATE, DATA_READ)
