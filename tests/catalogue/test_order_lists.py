"""A site's own order list: what is read, and what is refused with line and column."""

from __future__ import annotations

import pytest

from cds_service.catalogue.orders import (
    check_order_concepts,
    order_concepts,
    read_order_catalogue,
    template_csv,
)
from cds_service.errors import SettingsError
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge

HEADER = "concept,system,code,display,instructions\n"
MRI = "mri-lumbar-without-contrast,urn:oid:2.999.1,41003,MR L-SPINE WO CONTRAST,"


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    """Return the clinical content of this checkout."""
    return load_knowledge()


def fault_of(text: str | bytes, *systems: str) -> str:
    """Return why the order list *text* is refused."""
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(SettingsError) as caught:
        read_order_catalogue("orders.csv", content, systems)
    return str(caught.value)


def test_entries_are_found_by_concept_in_the_order_of_the_file() -> None:
    """The first entry of a concept is the one to recommend; the second is kept too."""
    second = MRI.replace("41003", "41004")
    found = read_order_catalogue("orders.csv", f"{HEADER}{MRI}\n{second}\n".encode())
    entries = found.entries_for("mri-lumbar-without-contrast")
    assert [entry.code for entry in entries] == ["41003", "41004"]
    assert found.entries_for("unknown", "mri-lumbar-without-contrast") == entries
    assert found.entries_for("crp") == ()


@pytest.mark.parametrize("text", [HEADER + MRI, "# ours\n\n" + HEADER + "# imaging\n" + MRI])
def test_spreadsheet_forms_are_read(text: str) -> None:
    """A byte order mark, semicolons, remarks and empty lines are what spreadsheets write."""
    plain = read_order_catalogue("o", text.encode())
    marked = read_order_catalogue("o", ("\ufeff" + text).encode())
    german = read_order_catalogue("o", text.replace(",", ";").encode())
    assert plain.entries == marked.entries == german.entries
    assert len(plain.entries) == 1


def test_line_of_the_template_that_nobody_filled_in_is_no_entry(knowledge: Knowledge) -> None:
    """A hospital may fill in the template bit by bit; what is empty is not mapped."""
    text = template_csv(knowledge)
    assert read_order_catalogue("o", text.encode()).entries == ()
    filled = text.replace("crp,,,,", "crp,urn:oid:2.999.1,52001,CRP,")
    assert [e.concept for e in read_order_catalogue("o", filled.encode()).entries] == ["crp"]


def test_template_names_every_order_once(knowledge: Knowledge) -> None:
    """Nobody has to guess a concept, and no site maps forms it does not use."""
    named = {order.id for order in order_concepts(knowledge)}
    assert len(named) == 17
    assert "physiotherapy-referral-other" not in named
    assert "spine-surgery-referral-orthopedic" not in named
    text = template_csv(knowledge)
    assert all(f"\n{order_id},,,,\n" in text for order_id in named)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "orders.csv, line 1: the column 'concept' is missing"),
        ("concept,system,code\n", "line 1: the column 'display' is missing"),
        (HEADER.replace("\n", ",color\n"), "line 1: the column 'color' is not known"),
        (HEADER.replace("\n", ",code\n"), "a column is named twice"),
        (HEADER + MRI.replace("urn:oid:2.999.1", "our list"), "line 2, column system: this is not"),
        (HEADER + MRI.replace("41003", "41  003"), "line 2, column code: a code is at most 128"),
        (HEADER + MRI.replace("41003", "4.1E+10"), "column code: a spreadsheet program has short"),
        (HEADER + MRI.replace("41003", '"4,1E+10"'), "column code: a spreadsheet program has sho"),
        (HEADER + MRI.replace("41003", "4" * 200), "line 2, column code: the text is longer"),
        (HEADER + MRI.replace("MR L-SPINE WO CONTRAST", ""), "column display: the cell is empty"),
        (HEADER + MRI.replace("WO CONTRAST", "X" * 90), "column display: the text is longer than"),
        (HEADER + MRI + "\n" + MRI, "line 3, column code: this concept has this code already"),
        (HEADER + MRI + "a,b,c", "line 2: there are more cells than columns"),
        (HEADER + '"crp', "line 2: the quotation marks do not match"),
        (HEADER + MRI.replace("mri-lumbar-without-contrast", ""), "column concept: the cell is"),
        (HEADER + MRI + '"a\nb"', "not plain text"),
        (HEADER + MRI + "<b", "column instructions: the text is longer than 500"),
        (HEADER + MRI + "b>", "column instructions: the text is longer than 500"),
        (HEADER.encode("utf-16"), "it is not UTF-8"),
        (b"x" * 5_000_000, "larger than 4 MB"),
    ],
)
def test_wrong_file_is_refused_with_its_place(text: str | bytes, expected: str) -> None:
    """The analyst reads the line, the column, why, and what to do."""
    assert expected in fault_of(text)


def test_system_the_ehr_does_not_act_on_is_refused() -> None:
    """A code of another system would be a dead button, so it never gets that far."""
    fault = fault_of(HEADER + MRI, "urn:com.epic.cdshooks.action.code.system.preference-list-item")
    assert "line 2, column system: this EHR does not act on orders" in fault
    assert "preference-list-item" in fault


def test_concept_we_never_order_is_refused_with_the_nearest_one(knowledge: Knowledge) -> None:
    """A misspelt concept is named with its line, and the right one is offered."""
    text = HEADER + "\n" + MRI.replace("mri-lumbar-without", "mri-lumber-without")
    catalogue = read_order_catalogue("orders.csv", text.encode())
    with pytest.raises(SettingsError) as caught:
        check_order_concepts(catalogue, knowledge)
    assert "orders.csv, line 3, column concept: 'mri-lumber-without-contrast' is no order" in str(
        caught.value
    )
    assert "Did you mean 'mri-lumbar-without-contrast'?" in str(caught.value)
