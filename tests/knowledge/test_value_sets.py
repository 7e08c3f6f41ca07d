"""What codes mean, by ideas a clinician names; written by hand, not taken from the files."""

from __future__ import annotations

import pytest

from cds_service.knowledge.model import SYSTEM_URIS, Knowledge, Needs

SCT, LNC, ICD, PCS = "SNOMED-CT", "LOINC", "ICD-10-CM", "ICD-10-PCS"
CPT, HCPCS, OPCS, RXN, OWN = "CPT", "HCPCS", "OPCS-4", "RxNorm", "LOCAL"

MUST_MEAN = [
    ("decompression", CPT, "63047 63030 63005 63012 63017 63042 63056 62380"),
    ("decompression", SCT, "427752004"),
    ("decompression", PCS, "01NB0ZZ 01NB3ZZ 01NB4ZZ 01NR0ZZ 01NR4ZZ 00NY0ZZ 00NY3ZZ 00NY4ZZ"),
    ("decompression", OPCS, "V25.2 V25.4 V25.5 V25.6 V25.8 V25.9 V67.1 V67.2 V26.2 V26.6 V68.1"),
    ("discectomy", CPT, "63030 63042"),
    ("discectomy", HCPCS, "C9757"),
    ("discectomy", PCS, "0SB20ZZ 0SB23ZZ 0SB24ZZ 0SB40ZZ 0SB43ZZ 0SB44ZZ 0ST20ZZ 0ST40ZZ"),
    ("discectomy", PCS, "0SC20ZZ 0SC40ZZ"),
    ("discectomy", OPCS, "V33.1 V33.2 V33.7 V33.8 V33.9 V34.1 V34.8 V34.9"),
    ("fusion", CPT, "22612 22630 22633 22558 22533"),
    ("fusion", SCT, "50172003 34238000 25789004 277764006 448942003 449048009 448944002 448943008"),
    ("fusion", PCS, "0SG00AJ 0SG0071 0SG10AJ 0SG1071 0SG30AJ 0SG3071 0SG00A0"),
    ("fusion", OPCS, "V25.1 V25.3 V38.2 V38.3 V38.6 V40.4 V26.1 V34.3 V39.3 V39.7"),
    ("two-or-more-levels", PCS, "0SG10AJ 0SG1071"),
    ("three-or-more-levels", CPT, "63017"),
    ("three-or-more-levels", OPCS, "V55.3"),
    ("adds-one-level", CPT, "63035 63044 63048 22614"),
    ("revision-surgery", CPT, "63042 63044"),
    ("revision-surgery", OPCS, "V26.2 V34.1 V39.3 V68.1"),
    ("not-an-index-operation", SCT, "445429009"),
    ("not-an-index-operation", CPT, "63655 63001 63003 63020 63045 63046"),
    ("not-an-index-operation", PCS, "0SP004Z 0SP00AZ 00CU0ZZ 009U00Z"),
    ("lumbar-surgery-history", SCT, "429164009 202725007"),
    ("scs-procedure", CPT, "63650 63655 63661 63662 63663 63664 63685 63688"),
    ("scs-procedure", SCT, "3270004"),
    ("scs-procedure", PCS, "00HU0MZ 00HU3MZ 00HV0MZ 00HV3MZ 00PU0MZ 00PU3MZ 0JH70BZ 0JH80DZ"),
    ("epidural-injection", CPT, "64483 64493"),
    ("epidural-injection", PCS, "3E0S33Z 3E0R33Z"),
    ("hospice", SCT, "305336008 183919006 183920000 385763009 385765002"),
    ("hospice", HCPCS, "S9126 T2042 T2043 T2045 T2046"),
    ("mri-lumbar", LNC, "24967-2 30679-5 30678-7 24968-0"),
    ("mri-lumbar", CPT, "72148 72149 72158"),
    ("mri-lumbar", SCT, "41333006 394451000119106 433141005 433140006"),
    ("mri-lumbar", PCS, "BR39ZZZ BR39Y0Z BR39YZZ"),
    ("ct-lumbar", LNC, "24963-1 30620-9 24964-9 36402-6"),
    ("ct-lumbar", SCT, "90523008 572091000119106 711224009 723646000"),
    ("ct-myelogram", LNC, "24965-6 24974-8"),
    ("xray-lumbar", LNC, "24971-4 37132-8 24972-2 24970-6"),
    ("xray-lumbar", CPT, "72100 72110"),
    ("xray-lumbar", SCT, "840361000 22791004 26537001"),
    ("emg", SCT, "42803009"),
    ("emg", LNC, "18749-2"),
    ("emg", CPT, "95885 95886 95887 95907 95908 95909 95910 95911 95912 95913"),
    ("emg", PCS, "4A0F33Z 4A01X29 4A01X2B"),
    ("physiotherapy-contact", CPT, "97161 97162 97163 97164 97110 97112 97140 97150 97530"),
    ("physiotherapy-contact", SCT, "91251008 410158009"),
    ("physiotherapy-contact", PCS, "F07L0ZZ"),
    ("physiotherapy-order", SCT, "444831000124102 308447003 390864007 416790000"),
    ("physiotherapy-order", SCT, "306170007 306171006 306172004"),
    ("spine-surgery-referral", SCT, "308482002 308481009 183541002"),
    ("pain-clinic-referral", SCT, "306265007"),
    ("pain-clinic-contact", SCT, "278414003 408957008"),
    ("psychology-referral", SCT, "308459004 428471000124108 81294000"),
    ("smoking-cessation-order", SCT, "710081004 225323000"),
    ("post-laminectomy-syndrome", ICD, "M96.1 M96.0"),
    ("post-laminectomy-syndrome", SCT, "27151001 202725007"),
    ("pseudarthrosis", ICD, "M96.0"),
    ("radiculopathy", ICD, "M54.10 M54.15 M54.16 M54.17 M54.30 M54.31 M54.32 M54.40 M54.41 M54.42"),
    ("radiculopathy", ICD, "G54.4"),
    ("radiculopathy", SCT, "128196005 2415007 46578006 23056005"),
    ("low-back-pain", ICD, "M54.50 M54.51 M54.59 M54.5"),
    ("low-back-pain", SCT, "279039007 278860009"),
    ("spinal-stenosis", ICD, "M48.05 M48.061 M48.062 M48.07 M48.06 M99.33 M99.53 M99.63 M99.73"),
    ("spinal-stenosis", SCT, "18347007 370471003"),
    ("foraminal-stenosis", ICD, "M99.63 M99.73"),
    ("disc-herniation", ICD, "M51.06 M51.15 M51.16 M51.17 M51.26 M51.27"),
    ("disc-herniation", SCT, "202735001 202708005 20021007"),
    ("disc-degeneration", ICD, "M51.360 M51.379 M51.36 M51.37 M51.A0 M51.A5 M51.86 M51.87"),
    ("neurogenic-claudication", ICD, "M48.062"),
    ("neurogenic-claudication", SCT, "303081002"),
    ("cauda-equina", ICD, "G83.4"),
    ("cauda-equina", SCT, "192970008 12454008"),
    ("urinary-retention", ICD, "R33.8 R33.9"),
    ("urinary-retention", SCT, "267064002 236648008"),
    ("urinary-incontinence", ICD, "R32 N39.490"),
    ("urinary-incontinence", SCT, "165232002"),
    ("incomplete-bladder-emptying", ICD, "R39.14"),
    ("faecal-incontinence", ICD, "R15.9"),
    ("faecal-incontinence", SCT, "72042002"),
    ("sensory-deficit", SCT, "309537005 309538000"),
    ("motor-paresis", ICD, "M21.371 M21.372 M21.379 G83.10 G83.11 G83.12 G83.13 G83.14"),
    ("motor-paresis", SCT, "6077001 249945007 102568007"),
    ("motor-paraplegia", SCT, "60389000"),
    ("infection-spinal", ICD, "M46.26 M46.27 M46.36 M46.37 M46.46 M46.47 M46.56 M46.57 M46.20"),
    ("infection-spinal", ICD, "G06.1 T84.63 T84.63XA T84.63XD"),
    ("infection-spinal", SCT, "302935008 2304001 203241002 1427008"),
    ("infection-spinal-if-text-or-early", ICD, "T81.42XA T81.42XD T81.43XA T81.43XD T81.44XA"),
    ("infection-sign", ICD, "T81.40XA T81.40XD T81.41XA T81.41XD T81.49XA T81.49XD"),
    ("infection-sign", SCT, "58126003 33910007"),
    ("wound-problem", SCT, "225553008 22247000"),
    ("wound-problem", ICD, "T81.31 T81.31XA T81.31XD"),
    ("postoperative-fever", ICD, "R50.82"),
    ("postoperative-fever", SCT, "386661006"),
    ("haematoma-spinal", ICD, "G97.51 G97.52 G97.61 G97.62"),
    ("haematoma-other", ICD, "M96.840"),
    ("haematoma-other", SCT, "239160006 110265006"),
    ("csf-leak", ICD, "G97.41 G96.00 G96.09 G96.11"),
    ("hardware-failure", ICD, "T84.216 T84.216A T84.216D T84.226A T84.226D T84.296A T84.296D"),
    ("spinal-instability", ICD, "M53.2X6 M53.2X7 M43.16 M43.17 M96.3"),
    ("spinal-instability", SCT, "274152003 4046000 307138004"),
    ("sacroiliac-pain", ICD, "M46.1"),
    ("sacroiliac-pain", SCT, "202487003 202805003 55146009 29885006"),
    ("competing-diagnosis", ICD, "G57.00 G57.03 M70.61 M70.62 M16.9 I73.9 G62.9 E11.42 G54.1"),
    (
        "competing-diagnosis",
        SCT,
        "129179000 52585001 399081005 7674000 399957001 63491006 239872002",
    ),
    ("competing-diagnosis", SCT, "713706002 424736006"),
    ("competing-neuropathy", ICD, "G57.00 G57.01 G57.02 G57.03 G62.9 E11.42 G54.1"),
    ("competing-neuropathy", SCT, "52585001 399081005 713706002 424736006"),
    ("smoker", ICD, "F17.200 F17.210 Z72.0"),
    ("smoker", SCT, "77176002 65568007 449868002 56294008 89765005"),
    ("smoker", SCT, "428041000124106 428071000124103 428061000124105"),
    ("smoker", LNC, "LA18976-3 LA18977-1 LA18981-3 LA18982-1 LA18979-7"),
    ("ex-smoker", ICD, "F17.211 Z87.891"),
    ("ex-smoker", SCT, "8517006"),
    ("ex-smoker", LNC, "LA15920-4"),
    ("never-smoker", SCT, "266919005"),
    ("never-smoker", LNC, "LA18978-9"),
    ("coagulopathy", ICD, "D66 D68.00 D68.9 D69.6"),
    ("coagulopathy", SCT, "64779008 302215000"),
    ("thrombocytopenia", ICD, "D69.6"),
    ("anticoagulant-flag", ICD, "Z79.01"),
    ("antiplatelet-flag", ICD, "Z79.02"),
    ("substance-use-disorder", ICD, "F11.10 F11.20 F11.21 F11.90"),
    ("opioid-use-remission", ICD, "F11.11 F11.21"),
    ("substance-use-disorder", SCT, "75544000 5602001"),
    ("psychosis", SCT, "58214004"),
    ("severe-renal-failure", ICD, "N18.4 N18.5 N18.6"),
    ("dialysis", ICD, "Z99.2"),
    ("pregnancy", ICD, "Z33.1 O00.9 O26.893 O9A.213"),
    ("pregnancy", SCT, "77386006"),
    ("pregnancy", LNC, "LA15173-0"),
    ("not-pregnant", SCT, "60001007"),
    ("not-pregnant", LNC, "LA26683-5"),
    ("tumour-spine", ICD, "C79.49"),
    ("tumour-spine", SCT, "188462001"),
    ("bone-metastasis", ICD, "C79.51"),
    ("bone-metastasis", SCT, "94222008"),
    ("vertebral-fracture", ICD, "M80.08XA M80.08XD"),
    ("vertebral-fracture", SCT, "426646004 42942008 240198002 274146004 207957008"),
    ("nerve-injury", ICD, "S34.21XA S34.21XD S34.22XA S34.3XXA"),
    ("suicidal-ideation", ICD, "R45.851"),
    ("suicidal-ideation", SCT, "6471006 225457007 82313006"),
    ("neuropathic-pain", SCT, "247398009"),
    ("sickle-cell", ICD, "D57.1 D57.20 D57.02 D57.419 D57.811"),
    ("cancer-treatment", ICD, "Z51.11 Z51.0"),
    ("gadolinium-allergy", OWN, "gadolinium-allergy"),
    ("arachnoiditis", SCT, "8217007"),
    ("chronic-pain", ICD, "G89.28 G89.4"),
    ("implant-pacemaker", SCT, "441509002 424921004"),
    ("implant-pacemaker", ICD, "Z95.0"),
    ("implant-defibrillator", SCT, "441769002 72506001"),
    ("implant-defibrillator", ICD, "Z95.810"),
    ("implant-neurostimulator", SCT, "25937001"),
    ("implant-neurostimulator", ICD, "Z96.82 Z45.42 T85.192A T85.192D T85.733A T85.733D"),
    ("implant-neurostimulator", ICD, "T85.112A T85.112D T85.122A T85.122D"),
    ("implant-neurostimulator", CPT, "63685 95970 95971 95972"),
    ("implant-neurostimulator", HCPCS, "C1767 L8680"),
    ("pain-score", LNC, "72514-3 38208-5 38221-8 75893-8"),
    ("pain-vas", LNC, "38214-3"),
    ("odi", LNC, "97908-8"),
    ("phq9", LNC, "44261-6"),
    ("phq9-item9", LNC, "44260-8"),
    ("gad7", LNC, "70274-6"),
    ("crp", LNC, "1988-5 30522-7"),
    ("esr", LNC, "30341-2 4537-7"),
    ("wbc", LNC, "6690-2 26464-8"),
    ("temperature", LNC, "8310-5 8331-1"),
    ("egfr", LNC, "33914-3 98979-8 62238-1"),
    ("smoking-status", LNC, "72166-2"),
    ("pregnancy-status", LNC, "82810-3"),
    ("dn4", OWN, "dn4-total"),
    ("paindetect", OWN, "paindetect-total"),
    ("lanss", OWN, "lanss-total"),
    ("pcs", OWN, "pcs-total"),
    ("pvr", OWN, "pvr-ml"),
    ("mrc-grade", OWN, "mrc-grade"),
    ("saddle-sensation", OWN, "saddle-sensation"),
    ("anal-tone", OWN, "anal-tone"),
    ("sij-tests", OWN, "sij-provocation-positive"),
    ("surgeon-clearance", OWN, "surgeon-clearance-pt"),
    ("muscle-component", OWN, "muscle"),
    ("muscle-hip-flexor", OWN, "hip-flexor"),
    ("muscle-quadriceps", OWN, "quadriceps"),
    ("muscle-tibialis-anterior", OWN, "tibialis-anterior"),
    ("muscle-ehl", OWN, "ehl"),
    ("muscle-gastrocnemius", OWN, "gastrocnemius"),
    ("muscle-peroneal", OWN, "peroneal"),
    ("answer-normal", OWN, "normal"),
    ("answer-reduced", OWN, "reduced"),
    ("answer-absent", OWN, "absent"),
    ("answer-not-at-all", LNC, "LA6568-5"),
    ("answer-several-days", LNC, "LA6569-3"),
    ("answer-more-than-half", LNC, "LA6570-1"),
    ("answer-nearly-every-day", LNC, "LA6571-9"),
    ("opioid", RXN, "7804 5489 7052 3423 7814 4337 6813 10689 787390 2670 1819 6754 6378 23088"),
    ("opioid", RXN, "8001 1841"),
    ("buprenorphine", RXN, "1819"),
    ("methadone", RXN, "6813"),
    ("anticoagulant", RXN, "11289 1364430 1114195 1546356 1037042 1599538 67108 5224"),
    ("antiplatelet", RXN, "32968 613391 1116632"),
    ("gabapentinoid", RXN, "25480 187832"),
    ("snri", RXN, "72625 39786"),
    ("tca", RXN, "704 5691"),
    ("acetaminophen", RXN, "161"),
    ("nsaid", RXN, "5640 7258 3355"),
    ("benzodiazepine", RXN, "3322 596 2598 6470 10767"),
    ("site-lumbar", SCT, "122496007 1217253001 52612000 66794005 49668003 84020006 243927000"),
    ("site-lumbar", OPCS, "Z06.3 Z07.3 Z66.5 Z67.5 Z67.6 Z99.3"),
    ("site-leg", SCT, "61685007 30021000 62175007 32153003"),
    ("site-back", SCT, "77568009 52612000 122496007"),
    ("site-other", SCT, "122495006"),
    ("side-left", SCT, "7771000 32153003"),
    ("side-right", SCT, "24028007 62175007"),
    ("side-both", SCT, "51440002"),
    ("level-l1-l2", SCT, "80064006 243920003"),
    ("level-l2-l3", SCT, "67459009 243921004"),
    ("level-l3-l4", SCT, "62551000 243922006"),
    ("level-l4-l5", SCT, "84020006 243923001"),
    ("level-l5-s1", SCT, "715056000 243927000"),
    ("decompression", CPT, "63052"),
    ("adds-one-level", CPT, "22632 22634 63053"),
    ("revision-surgery", CPT, "22830 22849"),
    ("not-an-index-operation", CPT, "22852 22830 27279"),
    ("si-joint-fusion", CPT, "27279"),
    ("si-joint-injection", CPT, "27096"),
    ("si-joint-injection", HCPCS, "G0260"),
    ("epidural-injection", CPT, "62322 62323 64484 64635"),
    ("ct-lumbar", CPT, "72131 72133"),
    ("ct-myelogram", CPT, "72132 62284 72265"),
    ("xray-lumbar", CPT, "72114 72120"),
    ("emg", CPT, "95860 95861 95863 95864"),
    ("implant-neurostimulator", HCPCS, "C1820 C1822 C1778 L8679 L8685 L8686 L8687 L8688"),
    ("nsaid", RXN, "140587 41493"),
    ("naloxone", RXN, "7242"),
    ("benzodiazepine", RXN, "10355 2356 21241 2353 4077 4501 6960 7781 35185"),
    ("anticoagulant", RXN, "321208 67109 69646 15202 60819"),
    ("antiplatelet", RXN, "10594 21107 3521"),
    ("tca", RXN, "7531 3247 3638 2597 8886 10834"),
    ("nsaid", RXN, "35827 24605 31448 5781 6142 8356 10237 32613"),
    ("nsaid", RXN, "4502 3393 6693 257844 4331 10636 36108"),
    ("spine-surgery-visit", SCT, "394610002"),
    ("pain-clinic-contact", SCT, "394882004"),
    ("claustrophobia", SCT, "19887002"),
    ("claustrophobia", ICD, "F40.240"),
    ("dementia", SCT, "52448006"),
    ("dementia", ICD, "F03.90 F01.50 F02.81 G30.9 G31.83"),
    ("psychosis", SCT, "69322001"),
    ("psychosis", ICD, "F20.9 F20.0 F22 F23 F24 F25.1 F28 F29"),
    ("pregnancy", ICD, "Z34.82 Z34.93 Z3A.12"),
    ("tumour-spine", ICD, "C41.2 C70.1 C72.0 C72.1"),
    ("vertebral-fracture", ICD, "S32.010A S32.050B S32.041D M48.57XA M80.88XD"),
    ("suicidal-ideation", ICD, "T14.91XA T14.91XD"),
    ("coagulopathy", ICD, "D65 D67 D68.021 D68.1 D68.2 D68.32 D68.4 D68.8 D69.3 D69.49 D69.59"),
    ("motor-paraplegia", ICD, "G82.20 G82.21"),
    ("motor-paresis", ICD, "G82.22"),
    ("competing-neuropathy", ICD, "E08.40 E09.40 E10.40 E11.40 E13.40"),
    ("competing-diagnosis", ICD, "E08.40 E09.40 E10.40 E11.40 E13.40"),
    ("vertebral-fracture", ICD, "M48.50XA M48.55XA M48.55XD"),
    ("competing-diagnosis", ICD, "M16.0 M16.11 M16.7 M70.60 E10.42 E13.42"),
    ("site-other", SCT, "122494005 53120007 368208006 368209003 368148009 368149001"),
    ("egfr", LNC, "48642-3 48643-1 88293-6 88294-4 77147-7 69405-9 50210-4 94677-2"),
    ("temperature", LNC, "8328-7 8332-9 8333-7 8334-5 8329-5 75539-7"),
    ("wbc", LNC, "804-5"),
    ("crp", LNC, "71426-1"),
    ("severe-renal-failure", SCT, "431857002 433146000 46177005"),
    ("dialysis", SCT, "105502003"),
    ("pregnancy-status", LNC, "11449-6"),
]

MUST_NEED = [
    ("decompression", SCT, "387731002 282191000 10836008 708651002 3968003", Needs.LUMBAR_SITE),
    ("decompression", PCS, "0QB00ZZ 0QB03ZZ 0QB04ZZ 0QN00ZZ", Needs.LUMBAR_REASON),
    ("discectomy", SCT, "89355001 3418002", Needs.LUMBAR_SITE),
    ("discectomy", OPCS, "V35.1 V35.8 V35.9", Needs.LUMBAR_SITE),
    ("fusion", SCT, "55705006 1253002", Needs.LUMBAR_SITE),
    ("spine-surgery-unspecified", SCT, "392236004", Needs.LUMBAR_SITE),
    ("lumbar-surgery-history", SCT, "161619009 161696003", Needs.LUMBAR_SITE),
    ("lumbar-surgery-history", ICD, "Z98.1 Z98.890 M96.1", Needs.LUMBAR_SITE),
    ("mri-lumbar", SCT, "241645008", Needs.LUMBAR_SITE),
    ("ct-lumbar", SCT, "241577003", Needs.LUMBAR_SITE),
    ("sensory-deficit", SCT, "91019004 44077006", Needs.LEG_SITE),
    ("sensory-deficit", ICD, "R20.0 R20.1 R20.2", Needs.LEG_SITE),
    ("saddle-numbness", SCT, "44077006", Needs.SADDLE_SITE),
    ("saddle-numbness", ICD, "R20.0 R20.1", Needs.SADDLE_SITE),
    ("motor-weakness", SCT, "26544005 713514005", Needs.LEG_SITE),
    ("sacroiliac-pain", ICD, "M53.3", Needs.SPINE_TEXT),
    ("vertebral-fracture", ICD, "M84.48XA M84.48XD", Needs.SPINE_TEXT),
    ("wound-problem", ICD, "T81.30 T81.30XA T81.30XD", Needs.SPINE_TEXT),
    ("infection-spinal-if-text-or-early", ICD, "T84.60XA T84.69XA", Needs.SPINE_TEXT),
]

MUST_NOT_MEAN = [
    ("decompression", CPT, "63655 63001 63003 63020 63045 63046 63267 0275T"),
    ("decompression", SCT, "445429009"),
    ("decompression", PCS, "0SB20ZX 00HU0MZ"),
    ("discectomy", PCS, "0SB20ZX 0SB40ZX"),
    ("discectomy", CPT, "62287"),
    ("fusion", PCS, "0SP004Z 0RG00AJ"),
    ("fusion", CPT, "27279 22586"),
    ("pain-score", LNC, "91148-7 91147-9 71962-5 76804-4 77565-0 38214-3"),
    ("infection-spinal", ICD, "T81.42XA T81.40XA T84.63XS"),
    ("infection-sign", ICD, "T81.42XA T81.40XS"),
    ("hardware-failure", ICD, "T84.216S T84.498A"),
    ("vertebral-fracture", ICD, "M80.08XS S32.010S M48.56XS"),
    ("coagulopathy", ICD, "D68.51 D68.52 D68.61 D68.69"),
    ("postoperative-fever", ICD, "R50.9"),
    ("motor-weakness", ICD, "M62.81"),
    ("substance-use-disorder", ICD, "Z79.891 F17.200"),
    ("competing-neuropathy", SCT, "129179000 7674000"),
    ("smoker", ICD, "F17.211 Z87.891"),
    ("sickle-cell", ICD, "D57.3"),
    ("coagulopathy", ICD, "Z79.01"),
    ("pain-clinic-referral", SCT, "306136006"),
    ("site-lumbar", SCT, "122495006 77568009"),
    ("anticoagulant", RXN, "21821"),
    ("topical-analgesic", RXN, "6387 1992"),
    ("implant-neurostimulator", HCPCS, "C1883 C1897"),
    ("spine-surgery-visit", SCT, "394801008"),
    ("temperature", LNC, "61008-9"),
    ("crp", LNC, "76485-2"),
    ("esr", LNC, "18184-2"),
]


def _rows(table: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(idea, system, code) for idea, system, codes in table for code in codes.split()]


@pytest.mark.parametrize(("idea", "system", "code"), _rows(MUST_MEAN))
def test_code_means_its_idea_without_further_conditions(
    knowledge: Knowledge, idea: str, system: str, code: str
) -> None:
    """A chart entry with this code is recognised as what clinicians mean by it."""
    meanings = knowledge.meanings(SYSTEM_URIS[system], code)
    assert (idea, Needs.NOTHING) in meanings


@pytest.mark.parametrize(
    ("idea", "system", "code", "needs"),
    [(idea, system, code, needs) for idea, system, cs, needs in MUST_NEED for code in cs.split()],
)
def test_generic_code_counts_only_with_what_it_needs(
    knowledge: Knowledge, idea: str, system: str, code: str, needs: Needs
) -> None:
    """A code that may mean another part of the body counts only with a site, reason or wording."""
    meanings = dict(knowledge.meanings(SYSTEM_URIS[system], code))
    assert meanings[idea] is needs


@pytest.mark.parametrize(("idea", "system", "code"), _rows(MUST_NOT_MEAN))
def test_code_does_not_mean_a_neighbouring_idea(
    knowledge: Knowledge, idea: str, system: str, code: str
) -> None:
    """Look-alikes, biopsies, late effects and codes from memory are not taken for the idea."""
    assert idea not in dict(knowledge.meanings(SYSTEM_URIS[system], code))


def test_opioid_set_contains_what_treats_opioid_use_disorder_as_well(knowledge: Knowledge) -> None:
    """Methadone and buprenorphine are opioids, and known apart from the others."""
    names = {
        name: {code.code for code in knowledge.value_sets[name].codes}
        for name in ("opioid", "buprenorphine", "methadone")
    }
    assert names["buprenorphine"] | names["methadone"] < names["opioid"]


def test_competing_neuropathies_are_competing_diagnoses(knowledge: Knowledge) -> None:
    """Every other nerve disease is also one of the competing diagnoses."""
    every = {code.code for code in knowledge.value_sets["competing-diagnosis"].codes}
    assert {code.code for code in knowledge.value_sets["competing-neuropathy"].codes} < every


def test_codes_from_memory_are_switched_off(knowledge: Knowledge) -> None:
    """Whatever nobody has read in a source is no ground for a card."""
    assert not {
        (value_set.id, code.code)
        for value_set in knowledge.value_sets.values()
        for code in value_set.codes
        if code.mark == "M" and code.is_enabled
    }


def test_aliases_of_a_code_system_give_the_same_meanings(knowledge: Knowledge) -> None:
    """A diagnosis is recognised under every spelling of ICD-10-CM, and under no other system."""
    by_alias = knowledge.meanings("urn:oid:2.16.840.1.113883.6.90", "G83.4")
    assert by_alias == knowledge.meanings(SYSTEM_URIS[ICD], "G83.4")
    assert knowledge.meanings("http://example.com/codes", "G83.4") == ()
