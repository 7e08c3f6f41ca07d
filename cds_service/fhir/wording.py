"""What the words of an entry say of site, level and side - the only things read from free text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from cds_service.values import Side

_DASH = r"\s*[-/\u2010-\u2015\u2212]\s*"
_LEVEL_CHAIN = re.compile(
    rf"\bL([1-5])((?:(?:{_DASH}|\s+(?:to|through)\s+)(?:L?[1-5]|S1)|L[2-5]|S1)+)\b",
    re.IGNORECASE,
)
_NEXT_LEVEL = re.compile(
    r"(?:\s*[,;&+]|\s+and\b)?\s*"
    rf"(?=1{_DASH}2|2{_DASH}3|3{_DASH}4|4{_DASH}5|5{_DASH}S?1)([1-5])({_DASH}S?[1-5])"
    r"(?![\w./-]*\w|\s*(?:mm|cm|days?|weeks?|months?|years?)\b)",
    re.IGNORECASE,
)
"""A level without its L that follows another: the second one of "L4-5, 5-1"."""
_LEVEL_STEP = re.compile(r"(S1|L?[1-5])", re.IGNORECASE)
_LUMBAR = re.compile(
    r"\b(?:lumb|lumbar|lumbal(?:e[mnrs]?|t)?|lomb(?:aires?|ales?|ar[ei]?|er)|LW[SK]|"
    r"lumbo-?sacral|thoraco-?lumbar|l[uo]mbo\w*|l/?s?[ -]spine|"
    r"L[2-5](?! ?(?:digit|finger|meta|MTP?|rib|toe))|[adloptx]lif)\b",
    re.IGNORECASE,
)
"""The region, one of its vertebrae, or a lumbar interbody fusion (TLIF, PLIF).

A single vertebra counts from L2 on: what reaches from the chest to L1 is thoracic.  "L5 MT" is a
bone of the left foot.  Of other languages the region alone is known: lumbal, lombaire, LWS.
"""
_LUMBAR_IN_ANOTHER_SCRIPT = re.compile(
    "腰椎|腰仙椎|腰部脊柱|요추|요천추|пояснич|מותני|قطني", re.IGNORECASE
)
_OTHER_SPINE_IN_ANOTHER_SCRIPT = re.compile(
    "[頸頚颈胸]椎|경추|흉추|шейн|грудн|צוואר|عنقي|صدري", re.IGNORECASE
)
"""Chinese and Japanese, Korean, Russian, Hebrew and Arabic."""
_OTHER_SPINE = re.compile(
    r"\b(?:cervical(?:es?)?|cervico\w*|zervi[ck]\w*|thoracic|thora[ck]al\w*|thoraci(?:ques?|c[ao])|"
    r"tor[a\u00e1]cic[ao]s?|[HB]W[SK]|dorsal spine|neck|[ct][ -]spine|acdf|"
    r"C[1-7]|T(?:[3-9]|1[0-2]))\b",
    re.IGNORECASE,
)
"""T1 and T2 are left out: they are ways to scan as well."""
_SPINE = re.compile(
    r"\b(?:spine|spinal|spondyl\w*|vertebra\w*|intervertebral|lumb\w+|thoraco-?lumbar|"
    r"sacroiliac|sacro-iliac|si joint|epidural|disc space|diskitis|discitis|"
    r"(?:hemi)?lamin(?:ectomy|otomy)|(?:micro)?dis[ck]ectomy|foraminotomy)\b",
    re.IGNORECASE,
)
"""The spine and its parts, and the operations by which a problem list names it."""
_BOTH_LEGS = (
    r"(?-i:BLEs?)|bles?(?= (?:weak|numb|pain|par[ae]|ting|strength|motor|sens|edema|swell|emg|"
    r"nc[sv]|radic|neuro|foot|drop|claud|dys|sympt)|\W*\Z)"
)
"""In small letters only where English goes on: "ble" is a verb of Norwegian ("ble operert")."""
_LOWER_LIMBS = (
    r"(?<!\bpar )(?<!\bdans )(?<!\bsur )(?<!\bdurante )(?-i:LEs?)"
    r"(?! (?:bas|dos|rachis|patient|matin|soir|jour|repos|cou|genou|pied|membre|att?ivit)\w*)"
)
"""LE, which is an article as well where French or Italian is written in capitals."""
_LEG = re.compile(
    rf"\b(?:[lr]les?|{_BOTH_LEGS}|{_LOWER_LIMBS}|legs?|"
    r"lower (?:limb|ext(?:remit(?:y|ies))?)s?|thighs?|calf|calves)\b",
    re.IGNORECASE,
)
_LEG_SITE = re.compile(
    rf"{_LEG.pattern}|\b(?:foot|feet|toes?|shins?|ankles?|knees?)\b",
    re.IGNORECASE,
)
_SADDLE = re.compile(
    r"\b(?:saddle|perine(?:al|um)|(?:peri)?anal|anus|perirectal|(?:ano)?genital(?:s|ia)?|"
    r"scrot(?:al|um)|peni(?:le|s)|vaginal?|vulv(?:ar?|al))\b",
    re.IGNORECASE,
)
_SADDLE_IS_WELL = re.compile(
    r"\b(?:no|without|den(?:y|ies|ied)|negative for)(?: (?:any|signs?|evidence|loss|sensation|"
    rf"numb(?:ness)?|ana?esthesia|of|the)){{0,4}} {_SADDLE.pattern}"
    rf"(?:(?:/|,? (?:or|nor|and) ){_SADDLE.pattern})*|{_SADDLE.pattern}"
    r"(?: (?:area|region|sensation|is|was)){0,3} (?:intact|normal|spared)\b",
    re.IGNORECASE,
)
"""Few words stand between, so that "no change of saddle numbness" stays an emergency."""
_WEAK = re.compile(r"\bweak(?:ness(?:es)?|er)?\b", re.IGNORECASE)
_STOP = re.compile("[,;.]")
_NOT_WEAK = re.compile(
    r"\b(?:no|without|den(?:y|ies|ied)|negative for)(?:,? (?:any|signs?|evidence|of|the|new|focal|"
    r"motor|muscle|left|right|bilateral|legs?|foot|lower|upper|arms?|hands?|limbs?|"
    r"extremit(?:y|ies)|numbness|tingling|pain|or|nor)){0,8},? weak\w*",
    re.IGNORECASE,
)
_BACK = re.compile(
    r"\b(?:low(?:er)?[ -]back|lumbar|lbp|lumbosacral|"
    r"(?<!upper[ -])(?<!mid[ -])(?<!middle[ -])back(?![ ,(/-]{1,3}(?:upper|mid(?:dle)?)\b))\b",
    re.IGNORECASE,
)
_NOT_LOW_BACK = re.compile(
    r"\b(?:(?:upper|mid|middle)[ -]back|back[ ,(/-]{1,3}(?:upper|mid(?:dle)?))\b", re.IGNORECASE
)
"""A part of the back that no lumbar operation is about."""
_ELSEWHERE = re.compile(
    r"\b(?:shoulders?|neck|cervical|thoracic|head|headache|chest|abdom\w*|belly|arms?|hands?|"
    r"wrists?|elbows?|knees?|hips?|ankles?|foot|feet|toes?|pelvi\w*|throat|ears?|jaw|tooth|teeth|"
    r"buttocks?|groin|upper (?:limb|extremity))\b",
    re.IGNORECASE,
)
_NO_LEG = re.compile(
    r"\b(?:upper (?:limb|ext(?:remit(?:y|ies))?)s?|(?:fore|upper )?arms?|[lrb]ues?|(?-i:UEs?)|"
    r"shoulders?|elbows?|wrists?|hands?|fingers?|thumbs?|carpal tunnel|ulnar|median nerve|"
    r"fac(?:e|ial)|pelvic floor|(?:anal )?sphincter)\b",
    re.IGNORECASE,
)
_LETTER_OF = (
    r"(?=(?: ?(?:[>/&+,]|and\b) ?(?-i:[LR]))?"
    r"[ -](?:sided?|legs?|LE|lower|foot|toes?|ankle|thigh|calf|hip flex\w*|EHL|TA)\b)"
)
"""What follows a letter that stands for a side: "L leg", "R-sided", "(L) foot", "L/R foot"."""
_BEFORE_LETTER = (
    r"\b(?:legs?|LE|foot|feet|toes?|ankle|thigh|calf|drop|weakness|numbness|tingling|"
    r"pain|sciatica|radiculopathy|EHL|TA) "
)
"""What stands before one in brackets; after other words "(L)" may mean lumbar."""


def _side_pattern(letter: str, words: str) -> re.Pattern[str]:
    """Return what names one side: *words*, or its *letter* beside a part of the leg."""
    bracketed = rf"(?-i:\({letter}\))"
    return re.compile(
        rf"\b(?:{words}|(?-i:{letter}){_LETTER_OF})\b|{bracketed}{_LETTER_OF}|"
        rf"{_BEFORE_LETTER}{bracketed}",
        re.IGNORECASE,
    )


_LEFT = _side_pattern("L", r"left|(?<!&)(?!(?-i:lt\.? ?[A-Z\u00c4\u00d6\u00dc](?![1-5E])))lt|lle")
"""Small "lt" before a word in capitals is German for "according to" ("lt. Arztbrief")."""
_RIGHT = _side_pattern(
    "R", r"right|(?-i:[Rr]t)|(?<!after )(?<!nach )(?<!s/p )(?<!post )(?-i:RT)|rle"
)
"""RT is radiotherapy where something comes after it."""
_ANY_SIDE = re.compile(
    r"left|right|bilat|both|\b(?:lt|rt|b/l|[lrb]les?)\b|\b[LR][ -]|\([LR]\)", re.IGNORECASE
)
_BOTH = re.compile(
    rf"\b(?:bilat(?:eral(?:ly)?)?|(?-i:B/L)|{_BOTH_LEGS}|both (?:sides|legs|feet|(?-i:LEs?)|"
    r"lower (?:limbs|extremities)))\b|(?-i:\(L\) ?[>/&+] ?\(R\)|\(R\) ?[>/&+] ?\(L\))",
    re.IGNORECASE,
)
_WHAT_CAME_BEFORE = re.compile(
    r"\b(?:after|following|status post|s/p|than|compared (?:to|with))\b"
    r"(?:(?!\b(?:and|now|then|with)\b|\s[/+&])[^,;.])*",
    re.IGNORECASE,
)
"""Up to the next stop it tells of something else: "right foot drop after left hip surgery".

Or of the other leg, which is the better one: "right leg weaker than left".
"""
_OTHER_SIDE_IS_WELL = re.compile(
    r"\b(?:left|right)(?: (?:leg|foot|side|lower limb|lower extremity))? (?:is |was )?"
    r"(?:normal|intact|unaffected|not affected|spared|ok|fine)\b|"
    r"\b(?:no|not|without)(?: (?:any|motor|weakness|deficits?|signs?|symptoms?|foot|drop|of|on|in|"
    r"at|the)){0,5} (?:left|right)\b|\b(?:left|right)[ -]hand(?:ed)?\b",
    re.IGNORECASE,
)
"""Few words stand between, so that "no change of the left" does not hide the left."""
_STIMULATION = re.compile(
    r"\b(?:spinal[ -]cord[ -]stimulat\w*|scs|neurostimulat\w*|neuromodulation|"
    r"dorsal[ -]column[ -]stimulat\w*)\b",
    re.IGNORECASE,
)

_INJECTED = re.compile(
    r"\b(?:intra-?(?:venous|muscular|thecal|spinal)\w*|sub-?cut\w*|sub-?q|epidural|inject\w*|"
    r"i\.?[mv]|s\.?[cq]|ivpb)\b",
    re.IGNORECASE,
)
"""Ways into the body by a needle or a catheter, as the words for a route name them."""

_OPERATION = re.compile(
    r"(?:lamin(?:e[ck]|o)|dis(?:[ck]+e|que)[ck]|foramin(?:ec|o)|facetec|nu[ck]leo|sequestre[ck])"
    r"tom(?:y|ie[sn]?|ia?|\u00eda)\b|\bexcision of (?:\w+ ){0,3}dis[ck]\b|"
    r"d[e\u00e9]s?[ck]ompress|descompresi|\bfusion\b|\bcure de hernie discale\b|"
    r"\b(?:ar?th?ro|spondylo)d[e\u00e8]s[ei]s?\b|\b[adloptx]lif\b|"
    r"\blumbar (?:(?:spine|spinal|dis[ck]|back) )?(?:surgery|operation)\b|"
    r"\b(?:surgery|operation) (?:of|on|to) (?:the )?lumbar (?:spine|dis[ck])\b"
)
_MAY_BE_OPERATION = re.compile(
    "tom[yi\u00ed]|fusion|d[e\u00e8]s[ei]|ompres|lif|surgery|operation|excision|hernie"
)
"""In small letters: asked first, and quickly, of every procedure that no code tells.

A notice hangs on them, no operation, so that words of other languages may be among them.
"""
_OPERATION_IN_ANOTHER_SCRIPT = re.compile(
    r"椎[弓板](?:切除|切開|切开|形成)|椎[間间][板盤盘]\w{0,6}(?:切除|摘出|摘除)|除圧|減壓|减压|"
    "固定術|固定术|融合術|融合术|"
    r"후궁\s?절제|(?:추간판|디스크)\s?(?:제거|절제)|감압|유합|고정술|"
    "ламин[еэ]ктом|диск[еэ]ктом|декомпресс|спондилод[еэ]з|"
    "למינקטומי|דיסקטומי|כריתת (?:למינה|דיסק)|איחוי|"
    "استئصال (?:الصفيحة|القرص)|تخفيف (?:ال)?ضغط|دمج"
)
_BESIDE_AN_OPERATION = re.compile(
    r"\b(?:ana?esth\w*|remov\w*|inject\w*|stimulat\w*|electrodes?|therapy|traction|rehab\w*|"
    r"exercis\w*|educat\w*|consent|after(?:care)?|follow[ -]?up|post[ -]?op\w*|pre[ -]?op\w*|"
    r"dressing|x-?rays?|mri|ct|spect|imaging|fluoro\w*|\w*monitoring|biopsy|scs|discuss\w*|"
    r"referr?\w*|plan(?:ned|ning)|cancel\w*|assistant|"
    r"brace|evaluat\w*|consult\w*|non[ -]?surgical|nach|narkose)\b|"
    "麻酔|麻醉|마취|анестез|הרדמה|تخدير|抜釘|抜去|拔除|注射|주사|ブロック|차단",
    re.IGNORECASE,
)
"""What is done before, during or after one, or looks like one in words."""


def levels_in(texts: Iterable[str]) -> frozenset[str]:
    """Return the disc levels *texts* name, as "L4-L5"; "L3-5" names two, "L5-1" is "L5-S1"."""
    return frozenset(
        level for text in texts for first, rest in _chains(text) for level in _levels(first, rest)
    )


def _chains(text: str) -> Iterator[tuple[str, str]]:
    for chain in _LEVEL_CHAIN.finditer(text):
        found: re.Match[str] | None = chain
        while found:
            yield found[1], found[2]
            found = _NEXT_LEVEL.match(text, found.end())


def _levels(first: str, rest: str) -> Iterable[str]:
    sacrum = 6
    steps = [int(first)]
    for step in _LEVEL_STEP.findall(rest):
        is_sacrum = step.upper() == "S1" or (step == "1" and steps[-1] == sacrum - 1)
        steps.append(sacrum if is_sacrum else int(step[-1]))
    for upper, lower in pairwise(steps):
        for vertebra in range(upper, lower):
            below = "S1" if vertebra + 1 == sacrum else f"L{vertebra + 1}"
            yield f"L{vertebra}-{below}"


def side_in(texts: Iterable[str]) -> Side | None:
    """Return the side *texts* name.

    What came before, and what is said to be well, has a side only where nothing else has.
    """
    known = tuple(texts)
    joined = " ; ".join(known)
    if not _ANY_SIDE.search(joined):
        return None
    itself = _OTHER_SIDE_IS_WELL.sub("", _WHAT_CAME_BEFORE.sub("", joined))
    return _one_side(itself) or _one_side(joined)


def _one_side(joined: str) -> Side | None:
    left, right = _LEFT.search(joined), _RIGHT.search(joined)
    if _BOTH.search(joined) or (left and right):
        return Side.BOTH
    if left or right:
        return Side.LEFT if left else Side.RIGHT
    return None


def joined_side(sides: Iterable[Side]) -> Side | None:
    """Return the side several statements add up to."""
    found = set(sides)
    if not found:
        return None
    return found.pop() if len(found) == 1 else Side.BOTH


def names_lumbar(texts: Iterable[str]) -> bool:
    """Whether *texts* name the lumbar spine or one of its levels."""
    known = tuple(texts)
    return (
        any(_LUMBAR.search(text) for text in known)
        or bool(levels_in(known))
        or _names_in_another_script(_LUMBAR_IN_ANOTHER_SCRIPT, known)
    )


def names_other_spine(texts: Iterable[str]) -> bool:
    """Whether *texts* name the neck or the thoracic spine."""
    known = tuple(texts)
    return any(_OTHER_SPINE.search(text) for text in known) or _names_in_another_script(
        _OTHER_SPINE_IN_ANOTHER_SCRIPT, known
    )


def _names_in_another_script(words: re.Pattern[str], texts: Iterable[str]) -> bool:
    """Whether *texts* have one of *words*; most texts have Latin letters alone."""
    return any(words.search(text) for text in texts if not text.isascii())


def names_spine(texts: Iterable[str]) -> bool:
    """Whether *texts* name any part of the spine."""
    known = tuple(texts)
    return any(_SPINE.search(text) for text in known) or names_lumbar(known)


def names_leg(texts: Iterable[str]) -> bool:
    """Whether *texts* name the lower limb or a part of it."""
    return any(_LEG_SITE.search(text) for text in texts)


def names_weak_leg(texts: Iterable[str]) -> bool:
    """Whether *texts* name the weakness of a leg, and not only to say that there is none."""
    known = tuple(texts)
    if names_no_leg(known):  # what is said of the arm is not said of the leg
        known = tuple(part for text in known for part in _STOP.split(text) if names_leg((part,)))
    return names_leg(known) and any(_WEAK.search(_NOT_WEAK.sub("", text)) for text in known)


def names_no_leg(texts: Iterable[str]) -> bool:
    """Whether *texts* name an arm, its nerves, the face or the pelvic floor."""
    return any(_NO_LEG.search(text) for text in texts)


def names_saddle(texts: Iterable[str]) -> bool:
    """Whether *texts* name the saddle area, and not only to say that it is well."""
    return any(_SADDLE.search(_SADDLE_IS_WELL.sub("", text)) for text in texts)


def names_spine_operation(texts: Iterable[str]) -> bool:
    """Whether *texts* name an operation as on the spine, and not only what is done for one."""
    joined = " ; ".join(texts).lower()
    return _names_operation(joined) and not _BESIDE_AN_OPERATION.search(joined)


def _names_operation(text: str) -> bool:
    if _MAY_BE_OPERATION.search(text) and _OPERATION.search(text):
        return True
    return _names_in_another_script(_OPERATION_IN_ANOTHER_SCRIPT, (text,))


def names_stimulation(texts: Iterable[str]) -> bool:
    """Whether *texts* name spinal cord stimulation."""
    return any(_STIMULATION.search(text) for text in texts)


def names_injection(texts: Iterable[str]) -> bool:
    """Whether *texts*, the words for a route, name a needle or a catheter."""
    return any(_INJECTED.search(text) for text in texts)


def pain_words(texts: Iterable[str]) -> tuple[bool, bool, bool]:
    """Return whether *texts* place a pain in the leg, in the back, or somewhere else."""
    joined = " ; ".join(texts)
    leg, back = bool(_LEG.search(joined)), bool(_BACK.search(joined))
    elsewhere = bool(_ELSEWHERE.search(joined) or _NOT_LOW_BACK.search(joined))
    return leg, back, elsewhere and not (leg or back)
