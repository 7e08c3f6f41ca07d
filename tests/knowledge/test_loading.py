"""Reading ``cards/``: what is refused, in which words, and what a site may replace."""

from __future__ import annotations

import os
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from cds_service.errors import KnowledgeError
from cds_service.knowledge.loading import cards_folder, load_knowledge
from cds_service.knowledge.model import Fires, Knowledge

WORKUP_DAY = "thresholds/workup-day.yaml"
CONTENT = ("templates", "thresholds", "value-sets", "orders", "phenotypes")
MISTAKES = {
    "a key written twice": (
        "thresholds/workup-day.yaml",
        "fires: at_or_above",
        "fires: at_or_above\nfires: above",
        (
            "cards/thresholds/workup-day.yaml, line 7: the key 'fires' is written twice. "
            "Keep one of the two."
        ),
    ),
    "a truth word as key": (
        "thresholds/workup-day.yaml",
        "id: workup-day",
        "id: workup-day\non: 5",
        (
            "cards/thresholds/workup-day.yaml, line 3: the key 'on' is not a plain word. "
            "Use a word as key."
        ),
    ),
    "a broken bracket": (
        "value-sets/opioid.yaml",
        'code: "7804"',
        'code: "7804',
        (
            "cards/value-sets/opioid.yaml, line 8: this is not YAML. "
            "Look at the indentation (blanks, no tabs), the quotes and the brackets of this line "
            "and the one before."
        ),
    ),
    "a code without quotes": (
        "value-sets/opioid.yaml",
        'code: "7804"',
        "code: 7804",
        (
            "cards/value-sets/opioid.yaml, line 8: codes[1].code: 7804 is read as a number. "
            "Write it in quotes."
        ),
    ),
    "a misspelt key": (
        "value-sets/opioid.yaml",
        "excludes:",
        "exclude:",
        "the key 'exclude' is not known here. Correct its spelling or remove it",
    ),
    "a missing key": (
        "value-sets/opioid.yaml",
        "label: opioid\n",
        "",
        "cards/value-sets/opioid.yaml, line 2: the key 'label' is missing. Add it.",
    ),
    "a boundary word that does not exist": (
        "thresholds/workup-day.yaml",
        "fires: at_or_above",
        "fires: at_least",
        (
            "cards/thresholds/workup-day.yaml, line 6: fires: 'at_least' is not one of above, "
            "at_or_above, below, at_or_below, exactly. Use one of these."
        ),
    ),
    "a number written as text": (
        "thresholds/workup-day.yaml",
        "value: 90",
        "value: ninety",
        (
            "cards/thresholds/workup-day.yaml, line 9: values[1].value: 'ninety' is not read as a "
            "number. Write digits without quotes"
        ),
    ),
    "a day that no calendar has": (
        "thresholds/workup-day.yaml",
        "2000-01-01",
        "2000-02-30",
        "cards/thresholds/workup-day.yaml, line 8: values[1].from: '2000-02-30' does not fit",
    ),
    "a status without a signature": (
        "thresholds/workup-day.yaml",
        "status: draft",
        "status: active",
        (
            "status 'reviewed' and 'active' need 'reviewed: {by, date, again_by}'. "
            "Name who signed, or set the status back to draft."
        ),
    ),
    "an id that is not the file name": (
        "thresholds/workup-day.yaml",
        "id: workup-day",
        "id: work-up-day",
        (
            "cards/thresholds/workup-day.yaml: the id 'work-up-day' is not the file name. "
            "Write id: workup-day, or rename the file."
        ),
    ),
    "an unknown source": (
        "thresholds/workup-day.yaml",
        "source: seed-articles",
        "source: seed-article",
        (
            "cards/thresholds/workup-day.yaml: the source 'seed-article' is not in "
            "cards/sources.yaml. Correct its name, or add it there (a site: in its own "
            "sources.yaml)."
        ),
    ),
    "a code listed twice": (
        "value-sets/cauda-equina.yaml",
        'code: "12454008"',
        'code: "192970008"',
        (
            "cards/value-sets/cauda-equina.yaml: SNOMED-CT 192970008 is listed twice. "
            "Keep one of the lines."
        ),
    ),
    "a code from memory that is switched on": (
        "value-sets/two-or-more-levels.yaml",
        ", enabled: false",
        "",
        (
            "cards/value-sets/two-or-more-levels.yaml: OPCS-4 V55.2 is from memory (mark M) and "
            "not switched off."
        ),
    ),
    "a word in braces that nothing fills": (
        "templates/rf-ces.yaml",
        "{sign}; emergency",
        "{sing}. Emergency",
        "cards/templates/rf-ces.yaml, headline 'default': nothing fills '{sing}'.",
    ),
    "a headline that is too long": (
        "templates/smoke.yaml",
        "Current smoker:",
        f"Current smoker{' and so on' * 10}:",
        "cards/templates/smoke.yaml, headline 'default': with its longest words it has",
    ),
    "a threshold in the text that does not exist": (
        "templates/rf-ces.yaml",
        "{threshold:pvr-volume}",
        "{threshold:pvr}",
        "cards/templates/rf-ces.yaml: the threshold 'pvr' is not in cards/thresholds/.",
    ),
    "a threshold in a likely explanation that does not exist": (
        "phenotypes/neuropathic.yaml",
        "{threshold:neuropathic-day}",
        "{threshold:neuropathic}",
        "cards/phenotypes/neuropathic.yaml: the threshold 'neuropathic' is not in",
    ),
    "a word in braces in a likely explanation": (
        "phenotypes/neuropathic.yaml",
        "{threshold:neuropathic-day}",
        "day {dss}",
        "cards/phenotypes/neuropathic.yaml: nothing fills '{dss}'. Write it out.",
    ),
    "a card that is retired and still shown": (
        "templates/smoke.yaml",
        "status: draft",
        "status: retired",
        "cards/templates/smoke.yaml: status 'retired' keeps a file for the record only",
    ),
    "a number that is retired and still decides": (
        "thresholds/workup-day.yaml",
        "status: draft",
        "status: retired",
        "cards/thresholds/workup-day.yaml: status 'retired' keeps a file for the record only",
    ),
    "a row used by two cards": (
        "templates/smoke.yaml",
        "row: 33",
        "row: 32",
        "cards/templates: 0 cards have row 33",
    ),
}


@pytest.mark.parametrize(
    ("place", "right", "wrong", "words"), MISTAKES.values(), ids=MISTAKES.keys()
)
def test_loading_refuses_a_mistake_and_says_what_to_do(
    cards: Path, place: str, right: str, wrong: str, words: str
) -> None:
    """Each mistake stops the start with words that name the file and the remedy."""
    file = cards / place
    text = file.read_text(encoding="utf-8")
    assert right in text
    file.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(KnowledgeError) as refusal:
        load_knowledge(cards)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("claims.yaml", "cards/claims.yaml: this file is missing. Put it back."),
        ("value-sets/smoker.yaml", "cards/value-sets/smoker.yaml: this file is missing. Add it."),
        ("templates/rf-ces.yaml", "cards/templates: 0 cards have row 1;"),
    ],
)
def test_loading_refuses_a_folder_with_a_file_missing(cards: Path, place: str, words: str) -> None:
    """A file that was deleted by mistake stops the start."""
    (cards / place).unlink()
    with pytest.raises(KnowledgeError) as refusal:
        load_knowledge(cards)
    assert words in str(refusal.value)


@pytest.mark.parametrize("name", ["thresholds/more/extra.yaml", "notes.yaml"])
def test_loading_refuses_a_file_in_the_wrong_place(cards: Path, name: str) -> None:
    """A file that no one would read is not silently ignored."""
    file = cards / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("id: extra\n", encoding="utf-8")
    with pytest.raises(KnowledgeError, match="belongs here"):
        load_knowledge(cards)


@pytest.mark.parametrize("ending", ["yml", "YAML", "Yml", "yaml.txt"])
def test_loading_refuses_another_spelling_of_the_ending(cards: Path, ending: str) -> None:
    """A site's number in "workup-day.yaml.txt" would be skipped, and ours count; it is named."""
    (cards / "thresholds" / f"extra.{ending}").write_text("id: extra\n", encoding="utf-8")
    fault = rf"cards/thresholds/extra\.{ending}: nobody would read a file of this name"
    with pytest.raises(KnowledgeError, match=fault):
        load_knowledge(cards)


@pytest.mark.parametrize("name", ["README.md", "workup-day.yaml~", ".workup-day.yaml.swp"])
def test_loading_passes_over_what_is_no_content(cards: Path, name: str) -> None:
    """Notes and what an editor leaves behind stop no start."""
    (cards / "thresholds" / name).write_text("a note", encoding="utf-8")
    load_knowledge(cards)


def test_file_that_is_not_utf8_is_refused_for_that(cards: Path) -> None:
    """A title saved in the code page of a German Windows was blamed on brackets in line 1."""
    file = cards / WORKUP_DAY
    words = file.read_text(encoding="utf-8").replace("lasting pain", "Schmerzen der Hüfte")
    file.write_bytes(words.encode("latin-1"))
    with pytest.raises(KnowledgeError, match=r"workup-day\.yaml: .* Save it again as UTF-8"):
        load_knowledge(cards)


def test_loading_lists_every_mistake_at_once(cards: Path) -> None:
    """Two wrong files are both named, so that one round of corrections is enough."""
    for name in ("workup-day", "age-adult"):
        file = cards / "thresholds" / f"{name}.yaml"
        file.write_text(file.read_text(encoding="utf-8").replace("unit: ", "units: "))
    with pytest.raises(KnowledgeError) as refusal:
        load_knowledge(cards)
    assert "workup-day.yaml" in str(refusal.value)
    assert "age-adult.yaml" in str(refusal.value)


def test_digest_stays_the_same_for_the_same_files(cards: Path, knowledge: Knowledge) -> None:
    """A copy of the folder in another place has the same digest."""
    assert load_knowledge(cards).digest == knowledge.digest


def test_digest_changes_with_a_single_number(cards: Path, knowledge: Knowledge) -> None:
    """A changed number gives another digest, so that answers can be traced to their content."""
    file = cards / "thresholds" / "workup-day.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("value: 90", "value: 91"))
    assert load_knowledge(cards).digest != knowledge.digest


def _site(tmp_path: Path, place: str, text: str) -> Path:
    file = tmp_path / "site" / place
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return tmp_path / "site"


def test_site_may_replace_a_number(tmp_path: Path, knowledge: Knowledge) -> None:
    """A site's own work-up day is used instead of ours, and the digest tells them apart."""
    text = (cards_folder() / "thresholds" / "workup-day.yaml").read_text(encoding="utf-8")
    site = _site(tmp_path, "thresholds/workup-day.yaml", text.replace("value: 90", "value: 84"))
    theirs = load_knowledge(site_overrides=site)
    assert theirs.thresholds["workup-day"].value_on(date(2026, 1, 1)).value == Decimal(84)
    assert theirs.digest != knowledge.digest


def _ours(place: str) -> str:
    return (cards_folder() / place).read_text(encoding="utf-8")


def test_site_need_not_cite_our_claims(tmp_path: Path) -> None:
    """A hospital that cites its own board, not our claims, gets its number."""
    text = re.sub("locator: .*", "locator: Spine board, 12 May 2026", _ours(WORKUP_DAY))
    theirs = load_knowledge(site_overrides=_site(tmp_path, WORKUP_DAY, text))
    assert theirs.thresholds["workup-day"].values[0].locator == "Spine board, 12 May 2026"


def test_before_the_first_day_of_a_sites_number_ours_counts(tmp_path: Path) -> None:
    """A number that the site writes for next year alone does not decide about today's patient."""
    text = _ours(WORKUP_DAY).replace("2000-01-01", "2027-01-01").replace("value: 90", "value: 84")
    theirs = load_knowledge(site_overrides=_site(tmp_path, WORKUP_DAY, text))
    days = (date(2026, 12, 31), date(2027, 1, 1))
    number = theirs.thresholds["workup-day"]
    assert [number.value_on(day).value for day in days] == [Decimal(90), Decimal(84)]


@pytest.mark.parametrize(
    ("place", "change", "fault"),
    [
        (WORKUP_DAY, ("unit: d\n", "unit: wk\n"), "rules count this number in 'd', not in 'wk'"),
        (
            "thresholds/fever-temperature.yaml",
            ("unit: Cel\n", 'unit: "[degF]"\n'),
            r"Write the number in 'Cel'",
        ),
        (
            WORKUP_DAY,
            ("unit_shown: days after surgery", "unit_shown: weeks after surgery"),
            "cards would print 'weeks after surgery' after a number that counts 'days after",
        ),
        (WORKUP_DAY, ("at_or_above", "below"), "ours is 'at_or_above'. Write above or at_or_above"),
    ],
)
def test_site_may_not_turn_or_rescale_a_number(
    tmp_path: Path, place: str, change: tuple[str, str], fault: str
) -> None:
    """Fever from 100.4 degrees Fahrenheit would be compared with degrees Celsius: never a fever."""
    site = _site(tmp_path, place, _ours(place).replace(*change))
    with pytest.raises(KnowledgeError, match=fault):
        load_knowledge(site_overrides=site)


def test_site_may_move_the_boundary_of_a_number(tmp_path: Path) -> None:
    """The site decides whether the patient on day 90 itself is worked up."""
    site = _site(tmp_path, WORKUP_DAY, _ours(WORKUP_DAY).replace("at_or_above", "above"))
    assert load_knowledge(site_overrides=site).thresholds["workup-day"].fires is Fires.ABOVE


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("{measure} now", "{measur} now"), r"nothing fills '\{measur\}'"),
        (("{measure} now", "{score} now"), r"texts, 'why': nothing fills '\{score\}'. Ours has: '"),
        (("  worsening-bloods:", "  worsened-bloods:"), "summaries: 'worsening-bloods' is missing"),
        (("  mri-not-adequate:", "  mri-inadequate:"), "notes: 'mri-not-adequate' is missing"),
        (("No relief {dss}", "No relief { dss }"), "'default': a brace stands alone, or its word"),
        (("No relief {dss}", "No relief {DSS}"), "'default': a brace stands alone, or its word"),
        (("{measure} now", "measure} now"), "'why': a brace stands alone, or its word"),
    ],
)
def test_card_of_a_site_has_all_words_its_rule_asks_for(
    tmp_path: Path, change: tuple[str, str], fault: str
) -> None:
    """Else a patient's card has no words, or the headline of another course."""
    place = "templates/img-mri-nr.yaml"
    site = _site(tmp_path, place, _ours(place).replace(*change))
    with pytest.raises(KnowledgeError, match=fault):
        load_knowledge(site_overrides=site)


def test_site_may_not_change_a_source_of_ours(tmp_path: Path) -> None:
    """A card that rests on NICE must not lead to the page of the site's own board."""
    sources = _ours("sources.yaml")
    entry = sources.partition("\nnice-ng59:")[2].partition("\n\n")[0]
    changed = re.sub("title: .*", "title: Spine board of Lakeside", entry, count=1)
    site = _site(tmp_path, "sources.yaml", f"nice-ng59:{changed}\n")
    with pytest.raises(KnowledgeError, match=r"'nice-ng59' is a source of ours"):
        load_knowledge(site_overrides=site)
    (site / "sources.yaml").write_text(sources, encoding="utf-8")  # a copy of ours is no change
    load_knowledge(site_overrides=site)


def test_code_with_blanks_around_it_is_refused(tmp_path: Path) -> None:
    """A code copied with a blank is in no chart: the site's own code would never be found."""
    place = "value-sets/crp.yaml"
    site = _site(tmp_path, place, _ours(place).replace('"1988-5"', '"1988-5 "'))
    with pytest.raises(KnowledgeError, match=r"'1988-5 ' .* without blanks around it"):
        load_knowledge(site_overrides=site)


def test_site_may_not_move_a_card_to_another_row(tmp_path: Path) -> None:
    """Cauda equina in the row of smoking could be set aside for half a year."""
    moved = _ours("templates/rf-ces.yaml").replace("\nrow: 1\n", "\nrow: 33\n")
    site = _site(tmp_path, "templates/rf-ces.yaml", moved)
    other = _ours("templates/smoke.yaml").replace("\nrow: 33\n", "\nrow: 1\n")
    (site / "templates" / "smoke.yaml").write_text(other, encoding="utf-8")
    with pytest.raises(KnowledgeError, match="the decision table has this card in row 1"):
        load_knowledge(site_overrides=site)


def test_site_may_not_say_another_urgency_than_the_rule(tmp_path: Path) -> None:
    """The page of a card said "Critical" where the card itself came as a warning."""
    place = "templates/img-mri-nr.yaml"
    louder = _ours(place).replace("indicator: warning", "indicator: critical")
    with pytest.raises(KnowledgeError, match=r"indicator: the rule says .* Write warning;"):
        load_knowledge(site_overrides=_site(tmp_path, place, louder))


def test_file_of_a_site_that_ours_no_longer_has_is_told_its_neighbour(tmp_path: Path) -> None:
    """After an upgrade that renamed a number the site reads which it could be now."""
    site = _site(tmp_path, "thresholds/work-up-day.yaml", _ours(WORKUP_DAY))
    with pytest.raises(KnowledgeError, match=r"Did you mean thresholds/workup-day.yaml\? Correct"):
        load_knowledge(site_overrides=site)


def test_misspelt_word_in_braces_of_a_text_is_refused(cards: Path) -> None:
    """The clinician who changes a sentence hears of it at once, not a patient's doctor later."""
    file = cards / "templates" / "img-mri-nr.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("{measure} now", "{measur} now"), encoding="utf-8")
    with pytest.raises(KnowledgeError, match=r"img-mri-nr.yaml, 'why': nothing fills '\{measur\}'"):
        load_knowledge(cards)


def test_keys_that_are_missing_are_named_once_and_all(tmp_path: Path) -> None:
    """One sentence for one gap, not the first key as often as keys are missing."""
    site = _site(tmp_path, WORKUP_DAY, "id: workup-day\ntitle: T\nunit: d\nstatus: draft\n")
    with pytest.raises(KnowledgeError) as refusal:
        load_knowledge(site_overrides=site)
    assert str(refusal.value) == (
        "site/thresholds/workup-day.yaml, line 1: the keys unit_shown, fires, values, reviewed are "
        "missing. Add them."
    )


@pytest.mark.parametrize("folder", CONTENT)
def test_content_is_reviewed_only_when_every_file_is_signed(cards: Path, folder: str) -> None:
    """Signed words do not make a number that nobody has signed a reviewed one."""
    signed = (
        'status: active\nreviewed: {by: "A. Name, MD", date: "2026-02-01", again_by: "2027-02-01"}'
    )
    files = [file for each in CONTENT for file in (cards / each).glob("*.yaml")]
    drafts = {file: file.read_text(encoding="utf-8") for file in files}
    for file, text in drafts.items():
        file.write_text(text.replace("status: draft\nreviewed: null", signed), encoding="utf-8")
    assert not load_knowledge(cards).is_unreviewed
    draft = next(file for file in files if file.parent.name == folder)
    draft.write_text(drafts[draft], encoding="utf-8")
    assert load_knowledge(cards).is_unreviewed


def test_site_may_switch_a_card_off_with_two_lines(tmp_path: Path, knowledge: Knowledge) -> None:
    """The switched off card keeps its words; the others stay on."""
    site = _site(tmp_path, "templates/smoke.yaml", "id: smoke\nenabled: false\n")
    theirs = load_knowledge(site_overrides=site)
    assert not theirs.cards["SMOKE"].is_enabled
    assert theirs.cards["SMOKE"].summaries == knowledge.cards["SMOKE"].summaries
    assert [card.id for card in theirs.cards.values() if not card.is_enabled] == ["SMOKE"]


def test_card_that_is_switched_off_may_be_retired(cards: Path) -> None:
    """It is kept for the record, and nobody gets it."""
    smoke = cards / "templates" / "smoke.yaml"
    words = smoke.read_text(encoding="utf-8").replace("enabled: true", "enabled: false")
    smoke.write_text(words.replace("status: draft", "status: retired"), encoding="utf-8")
    assert not load_knowledge(cards).cards["SMOKE"].is_enabled


def test_site_may_add_a_source_for_its_own_numbers(tmp_path: Path, knowledge: Knowledge) -> None:
    """A site's source stands beside ours."""
    words = "title: T\n  cite: C\n  url: ''\n  published: ''\n  checked: not read\n  strength: Ours"
    site = _site(tmp_path, "sources.yaml", f"site-board:\n  {words}\n")
    theirs = load_knowledge(site_overrides=site)
    assert set(theirs.sources) - set(knowledge.sources) == {"site-board"}


@pytest.mark.parametrize("place", ["thresholds/work-up-day.yaml", "claims.yaml"])
def test_site_may_not_replace_what_does_not_exist(tmp_path: Path, place: str) -> None:
    """A misspelt file name of a site is refused, never ignored."""
    site = _site(tmp_path, place, "id: work-up-day\n")
    with pytest.raises(KnowledgeError, match=f"site/{place}: a site may replace"):
        load_knowledge(site_overrides=site)


def test_empty_folder_of_a_site_is_refused(tmp_path: Path) -> None:
    """A disk that is not there would turn the site's numbers back into ours, and nobody told."""
    with pytest.raises(KnowledgeError, match="this folder of the site is empty"):
        load_knowledge(site_overrides=tmp_path)


def test_folder_of_a_site_that_cannot_be_read_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that the site switched off would come back, and nobody told."""
    site = _site(tmp_path, "templates/smoke.yaml", "id: smoke\nenabled: false\n")
    ours = (cards_folder() / "thresholds" / "workup-day.yaml").read_text(encoding="utf-8")
    _site(tmp_path, "thresholds/workup-day.yaml", ours)
    look = os.scandir

    def refuse(folder: str) -> object:
        if folder.endswith("templates"):
            raise PermissionError(13, "Permission denied", folder)
        return look(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(KnowledgeError, match="templates: this folder cannot be read"):
        load_knowledge(site_overrides=site)


def test_folder_of_a_site_behind_a_link_counts(tmp_path: Path) -> None:
    """Content that an installer linked into its place is not passed over."""
    site = _site(tmp_path, "../elsewhere/smoke.yaml", "id: smoke\nenabled: false\n")
    (site / "templates").symlink_to(tmp_path / "elsewhere")
    assert not load_knowledge(site_overrides=site).cards["SMOKE"].is_enabled


def test_folder_mounted_from_a_cluster_is_read_once(tmp_path: Path) -> None:
    """There each file is a link through a hidden folder, which holds it too."""
    site = _site(tmp_path, "templates/..2026/smoke.yaml", "id: smoke\nenabled: false\n")
    (site / "templates" / "..data").symlink_to("..2026")
    (site / "templates" / "smoke.yaml").symlink_to("..data/smoke.yaml")
    assert not load_knowledge(site_overrides=site).cards["SMOKE"].is_enabled


@pytest.mark.parametrize("is_folder", [True, False])
def test_file_of_a_site_that_cannot_be_read_is_said_in_a_sentence(
    tmp_path: Path,
    is_folder: bool,  # noqa: FBT001 - a case
) -> None:
    """A link that leads nowhere, or the folder a container makes where a file was to be mounted."""
    file = _site(tmp_path, "templates/opioid.yaml", "id: opioid\nenabled: false\n") / "templates"
    if is_folder:
        (file / "smoke.yaml").mkdir()
    else:
        (file / "smoke.yaml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(KnowledgeError, match=r"templates/smoke\.yaml: this file cannot be read"):
        load_knowledge(site_overrides=tmp_path / "site")


def test_site_may_not_bring_a_table_of_drugs(tmp_path: Path) -> None:
    """A site that adds an opioid to a table nobody reads would believe it is counted."""
    site = _site(tmp_path, "clinical-drugs.csv", "")
    with pytest.raises(KnowledgeError, match="cannot replace the table of drugs"):
        load_knowledge(site_overrides=site)


def test_site_file_is_checked_like_ours(tmp_path: Path) -> None:
    """A site's card with a wrong switch stops the start and names the site's file."""
    site = _site(tmp_path, "templates/smoke.yaml", "id: smoke\nenabled: no\n")
    with pytest.raises(KnowledgeError) as refusal:
        load_knowledge(site_overrides=site)
    assert "site/templates/smoke.yaml, line 2: enabled: this must be true or false" in str(
        refusal.value
    )


def test_site_file_that_does_not_fit_the_others_is_named_itself(tmp_path: Path) -> None:
    """A clinician is not sent to our file when the unknown source stands in the site's."""
    text = (cards_folder() / "thresholds" / "workup-day.yaml").read_text(encoding="utf-8")
    wrong = text.replace("source: seed-articles", "source: spine-board")
    site = _site(tmp_path, "thresholds/workup-day.yaml", wrong)
    with pytest.raises(KnowledgeError, match=r"\Asite/thresholds/workup-day.yaml: the source"):
        load_knowledge(site_overrides=site)


def test_loading_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A wrong path in the settings stops the start."""
    with pytest.raises(KnowledgeError, match="there is no such folder"):
        load_knowledge(site_overrides=tmp_path / "nowhere")


DRUG_LINE = "1049621,7804,5,Oxycodone Hydrochloride 5 MG Oral Tablet"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"{DRUG_LINE}\n{DRUG_LINE}", "1049621 is written twice. Keep one of the two lines."),
        ("1049621,7804,5", "a line has the cells rxnorm, ingredients, strength, name"),
        ("1049621,,5,Oxycodone", "only strength may be empty. Fill in the others."),
        ("1049621,other,5,Oxycodone", "'other' comes on top of at least one."),
        ("1049621,oxycodone,5,Oxycodone", "a drug and its ingredients are RxNorm codes"),
        ("01049621,7804,5,Oxycodone", "a drug and its ingredients are RxNorm codes"),
        ("1049621,7804,5 mg,Oxycodone", "the strength '5 mg' is not a number of milligrams."),
        ("1049621,7804,-5,Oxycodone", "the strength '-5' is not a number of milligrams."),
    ],
)
def test_a_faulty_line_of_the_drugs_is_named(cards: Path, line: str, fault: str) -> None:
    """With file and line, before anything is served."""
    drugs = cards / "clinical-drugs.csv"
    text = drugs.read_text(encoding="utf-8")
    number = text[: text.index(DRUG_LINE)].count("\n") + 1 + line.count("\n")
    drugs.write_text(text.replace(DRUG_LINE, line), encoding="utf-8")
    with pytest.raises(KnowledgeError) as refusal:
        load_knowledge(cards)
    assert f"cards/clinical-drugs.csv, line {number}: " in str(refusal.value)
    assert fault in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"rxnorm,ingredients,name\n", "the first line must be rxnorm,ingredients,strength,name."),
        (b"", "the first line must be rxnorm,ingredients,strength,name."),
        (b"# \xff\n", "it is not UTF-8. Save it as UTF-8."),
        (None, "this file is missing. Put it back."),
    ],
)
def test_a_table_of_drugs_that_is_none_is_refused(
    cards: Path, content: bytes | None, fault: str
) -> None:
    """A service that knows no drug by its code would be silent without a word."""
    drugs = cards / "clinical-drugs.csv"
    if content is None:
        drugs.unlink()
    else:
        drugs.write_bytes(content)
    with pytest.raises(KnowledgeError, match=f"cards/clinical-drugs.csv: {fault}"):
        load_knowledge(cards)


def test_the_digest_covers_the_drugs(cards: Path, knowledge: Knowledge) -> None:
    """Ledger and health name another knowledge once a line of the table has changed."""
    drugs = cards / "clinical-drugs.csv"
    drugs.write_text(
        drugs.read_text(encoding="utf-8").replace(DRUG_LINE, "# without it"), encoding="utf-8"
    )
    changed = load_knowledge(cards)
    assert changed.digest != knowledge.digest
    assert "1049621" not in changed.clinical_drugs


def test_opioid_factors_are_those_of_the_guideline(knowledge: Knowledge) -> None:
    """Factors multiply milligrams a day, for fentanyl micrograms an hour; no buprenorphine."""
    factors = {code: str(factor) for code, factor in knowledge.mme_factors.items()}
    assert factors == {
        "2670": "0.15",
        "4337": "2.4",
        "5489": "1",
        "3423": "5",
        "6813": "4.7",
        "7052": "1",
        "7804": "1.5",
        "7814": "3",
        "787390": "0.4",
        "10689": "0.2",
    }


def test_override_reasons_silence_a_card_for_their_time(knowledge: Knowledge) -> None:
    """Each reason has its days; rows 1 to 4 are never silenced, rows 5 to 9 for two weeks."""
    assert knowledge.snooze_days == {
        "already-planned": 90,
        "patient-declined": 180,
        "not-clinically-indicated": None,
        "done-elsewhere": 90,
        "contraindicated": 365,
        "will-re-examine-first": 14,
    }
    assert knowledge.no_reason_snooze_days == 30
    assert knowledge.accepted_snooze_days == 14
    assert knowledge.unchanged_facts_snooze_days == 365
    assert knowledge.snooze_limits == ((1, 4, 0), (5, 9, 14))
    assert [code for code, _ in knowledge.override_reasons] == list(knowledge.snooze_days)


def test_override_reasons_read_every_newer_code_once(knowledge: Knowledge) -> None:
    """Each of the twelve CDS Hooks 3.0 codes is read as exactly one of our reasons."""
    newer = [code for codes in knowledge.override_equivalents.values() for code in codes]
    assert sorted(newer) == [
        "action-completed",
        "cds-not-applicable",
        "cds-suboptimal-context",
        "does-not-align-preferences",
        "not-convenient-feasible",
        "patient-contraindication",
        "patient-refuses",
        "recipient-concerns-outcomes",
        "recipient-disagrees-evidence",
        "recipient-does-not-understand",
        "service-not-available",
        "too-costly-uncovered",
    ]


def test_claims_are_the_eighty_five_of_the_source_articles(knowledge: Knowledge) -> None:
    """Five articles give 19, 14, 18, 12 and 22 statements; two of them lead to nothing."""
    counts = [sum(claim.startswith(f"S{n}-") for claim in knowledge.claims) for n in range(5)]
    assert counts == [19, 14, 18, 12, 22]
    assert set(knowledge.claims) - knowledge.automated_claims == {"S3-02", "S4-02"}


def test_phenotypes_have_the_points_of_the_rule_set(knowledge: Knowledge) -> None:
    """The order of the likely explanations and their points are those agreed."""
    points = {
        phenotype.id: [point.points for point in phenotype.points.values()]
        for phenotype in sorted(knowledge.phenotypes.values(), key=lambda each: each.order)
    }
    assert list(points.items()) == [
        ("infection", [10, 3]),
        ("wrong-level", [8]),
        ("nerve-injury", [6, 3]),
        ("recurrent-herniation", [4, 2, 2, 1, 2, 1, 6]),
        ("recurrent-stenosis", [3, 1, 2, 1, 1, 2, 3, 6]),
        ("pseudarthrosis", [5, 2, 1, 8]),
        ("residual-compression", [3, 2, 2, -2]),
        ("foraminal-residual", [5]),
        ("diagnosis", [3, 3]),
        ("neuropathic", [5, 2]),
        ("sij", [6, 1, 1]),
        ("inflammation", [6, 1]),
        ("deconditioning", [2, 2]),
        ("fibrosis", [3, 4, 1]),
    ]
