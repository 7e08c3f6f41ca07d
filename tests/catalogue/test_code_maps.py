"""A site's local codes: what is read, and what is refused with line and column."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cds_service.catalogue.codes import CodeMap, read_code_map
from cds_service.catalogue.orders import read_order_catalogue
from cds_service.errors import SettingsError
from cds_service.fhir.local_codes import check_local_codes
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge

HEADER = "system,code,concept,unit,remark\n"
ROW = "urn:oid:2.999.7.1,100520,pvr,mL,Bladder scan"


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


def test_one_code_may_have_several_meanings() -> None:
    """A flowsheet row of one muscle on one side says what, which muscle and which side."""
    rows = [f"urn:oid:2.999,7,{name},," for name in ("mrc-grade", "muscle-ehl", "side-left")]
    found = read_code_map("codes.csv", (HEADER + "\n".join(rows)).encode())
    assert found.concepts == {("urn:oid:2.999", "7"): ("mrc-grade", "muscle-ehl", "side-left")}
    assert found.units == {}


def test_columns_for_unit_and_remark_may_be_left_out() -> None:
    """Three columns are enough."""
    found = read_code_map("c", b"system,code,concept\nurn:oid:2.999,7,odi\n")
    assert [(entry.concept, entry.line) for entry in found.entries] == [("odi", 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEADER + ROW + "\n" + ROW, "line 3, column concept: this code has this concept already"),
        (HEADER + ROW + "\n" + ROW.replace("pvr,mL", "crp,mg/L"), "line 3, column unit: another"),
        (HEADER + ROW.replace("pvr", ""), "line 2, column concept: the cell is empty"),
        (HEADER + ROW.replace("100520", "a|b"), "line 2, column code: a code is at most 128"),
        (HEADER + ROW.replace("100520", "a  b"), "line 2, column code: a code is at most 128"),
        (HEADER + ROW.replace("100520", "a\tb"), "line 2, column code: the text is longer"),
        (HEADER + ROW.replace("100520", "{{b}}"), "line 2, column code: a code is at most 128"),
        (HEADER + ROW.replace("100520", "a\u00a0b"), "line 2, column code: the text is longer"),
        (HEADER + ROW.replace("100520", "a\u200bb"), "line 2, column code: the text is longer"),
        (HEADER + ROW.replace("100520", "a,b"), "line 2: there are more cells"),
    ],
)
def test_wrong_file_is_refused_with_its_place(text: str, expected: str) -> None:
    """The analyst reads line, column, why and what to do."""
    with pytest.raises(SettingsError) as caught:
        read_code_map("codes.csv", text.encode())
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW.replace("pvr", "pvrr"), "line 2, column concept: 'pvrr' is no concept"),
        (ROW.replace("pvr", "zzz"), "/fhir/ValueSet/ID shows each of them"),
        (ROW.replace("mL", "gallons"), "line 2, column unit: this unit is not read for it"),
        (ROW.replace("pvr,mL", "saddle-sensation,mL"), "its concept carries no number"),
    ],
)
def test_mapping_that_could_never_work_is_refused(
    row: str, expected: str, knowledge: Knowledge
) -> None:
    """An unknown concept or an impossible unit is an error at the start, not a silent gap."""
    with pytest.raises(SettingsError) as caught:
        check_local_codes(read_code_map("codes.csv", (HEADER + row).encode()), knowledge)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fusion", "not-an-index-operation"),
        ("side-left", "side-right"),
        ("answer-normal", "answer-absent"),
        ("pain-score", "odi"),
        ("crp", "esr"),
    ],
)
def test_code_that_stands_for_two_things_that_exclude_each_other_is_refused(
    one: str, other: str, knowledge: Knowledge
) -> None:
    """A cell copied down made pain 8/10 an ODI of 8, and a fusion no operation at all."""
    rows = "\n".join(f"urn:oid:2.999,7,{concept},," for concept in (one, other))
    with pytest.raises(SettingsError) as caught:
        check_local_codes(read_code_map("codes.csv", (HEADER + rows).encode()), knowledge)
    assert f"line 3, column concept: this code stands for '{one}' too" in str(caught.value)


def test_code_of_an_operation_on_two_levels_has_a_line_for_each(knowledge: Knowledge) -> None:
    """Two levels of one operation exclude each other in ``cards/``, not in a site's list."""
    concepts = ("fusion", "level-l3-l4", "level-l4-l5")
    rows = "\n".join(f"urn:oid:2.999,7,{concept},," for concept in concepts)
    check_local_codes(read_code_map("codes.csv", (HEADER + rows).encode()), knowledge)


@pytest.mark.parametrize(
    ("concept", "unit"),
    [("pvr", "mL"), ("crp", "mg/dL"), ("pain-vas", "mm"), ("temperature", "[degF]"), ("odi", "%")],
)
def test_units_that_are_read_are_accepted(concept: str, unit: str, knowledge: Knowledge) -> None:
    """Units of the scale and those converted to it may be given."""
    text = f"{HEADER}urn:oid:2.999,7,{concept},{unit},"
    check_local_codes(read_code_map("c", text.encode()), knowledge)


ORDERS = "concept,system,code,display\n"


@pytest.mark.parametrize("concept", ["mri-lumbar", "emg"])
@pytest.mark.parametrize("order", ["ct-lumbar-without-contrast", "crp"])
def test_code_that_is_read_as_another_order_is_refused(
    concept: str, order: str, knowledge: Knowledge
) -> None:
    """A CT would end the advice to scan with MRI, or a blood test that to test the nerves."""
    orders = f"{ORDERS}{order},urn:oid:2.999,7,LOCAL\n"
    with pytest.raises(SettingsError) as caught:
        check_local_codes(_both(f"urn:oid:2.999,7,{concept},,", orders), knowledge)
    assert str(caught.value) == (
        f"orders.csv, line 2, column code: this code orders '{order}' here, and codes.csv reads it "
        f"as '{concept}'. Correct the wrong one; a code that means both has a line for each in the "
        "code map."
    )


@pytest.mark.parametrize("rows", ["", "http://www.ama-assn.org/go/cpt,72131,ct-lumbar,,"])
def test_cpt_code_of_a_ct_in_the_order_list_is_no_mri(rows: str, knowledge: Knowledge) -> None:
    """A cell copied down would make an MRI done of every CT in every chart."""
    orders = f"{ORDERS}mri-lumbar-without-contrast,http://www.ama-assn.org/go/cpt,72131,MRI\n"
    where = "codes.csv" if rows else "cards/value-sets/ct-lumbar.yaml"
    with pytest.raises(SettingsError) as caught:
        check_local_codes(_both(rows, orders), knowledge)
    assert f"and {where} reads it as 'ct-lumbar'" in str(caught.value)
    added = f"{rows}\nhttp://www.ama-assn.org/go/cpt,72131,mri-lumbar,,"
    check_local_codes(_both(added, orders), knowledge)


@pytest.mark.parametrize(
    ("concepts", "order"),
    [
        (("mri-lumbar",), "mri-lumbar-without-contrast"),
        (("mri-lumbar", "ct-lumbar"), "ct-lumbar-without-contrast"),
        (("pain-clinic-contact",), "pain-clinic-referral"),
        (("crp",), "crp"),
    ],
)
def test_code_in_both_lists_with_one_meaning_is_accepted(
    concepts: tuple[str, ...], order: str, knowledge: Knowledge
) -> None:
    """Hospitals were told to write such codes into both lists."""
    rows = "\n".join(f"urn:oid:2.999,7,{concept},," for concept in concepts)
    check_local_codes(_both(rows, f"{ORDERS}{order},urn:oid:2.999,7,LOCAL\n"), knowledge)


def _both(rows: str, orders: str) -> CodeMap:
    """Return the code map of *rows* with the order list *orders*."""
    code_map = read_code_map("codes.csv", (HEADER + rows).encode())
    return replace(code_map, orders=read_order_catalogue("orders.csv", orders.encode()))
