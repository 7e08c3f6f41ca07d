"""A prescription that is renewed, or told of twice, is one dose."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import permutations

import pytest

from tests.fhir.chart_parts import RXNORM, ReadChart, Resource, concept, drug_order

OXYCODONE_80, OXYCODONE_10 = "1860148", "1049621"
"""Two drugs of one ingredient."""
BRAND = "1049623"
INGREDIENT = "7804"


def prescribed(
    name: str, day: str | None, code: str = OXYCODONE_10, /, **fields: object
) -> Resource:
    """Return an active order of 20 mg of oxycodone twice a day, 60 MME."""
    dose = {
        "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": {"value": 20, "code": "mg"}}],
    }
    fields = {"dosageInstruction": [dose], **fields}
    order = drug_order(medicationCodeableConcept=concept(RXNORM, code), authoredOn=day, **fields)
    return {**order, "id": name}


def stated(name: str, day: str, **fields: object) -> Resource:
    """Return a statement that the same is taken."""
    order = prescribed(name, None)
    dose = order.pop("dosageInstruction")
    statement = {**order, "resourceType": "MedicationStatement", "dosage": dose}
    return {**statement, "effectivePeriod": {"start": day}, **fields}


def counted(read: ReadChart, *entries: Resource) -> set[str]:
    """Return the ids of the entries whose dose counts, whatever their order."""
    found: set[str] = set()
    for several in (entries, entries[::-1]):
        drugs = read(*several).drugs
        assert {drug.mme_per_day for drug in drugs} == {Decimal(60)}
        found = {drug.reference.partition("/")[2] for drug in drugs if not drug.is_repeated}
    return found


def test_monthly_prescriptions_that_all_stay_active_are_one_dose(read: ReadChart) -> None:
    """The latest one says how much is taken; the earlier ones say since when."""
    months = [prescribed(f"m{month}", f"2026-0{month}-05") for month in range(1, 10)]
    assert counted(read, *months) == {"m9"}


def test_two_drugs_of_one_ingredient_add_up(read: ReadChart) -> None:
    """Long-acting and short-acting tablets are taken together."""
    both = (prescribed("a", "2026-08-05", OXYCODONE_80), prescribed("b", "2026-09-05"))
    assert counted(read, *both) == {"a", "b"}


def test_prescriptions_of_one_day_add_up(read: ReadChart) -> None:
    """One for the day and one for the night, say."""
    both = (prescribed("a", "2026-09-05"), prescribed("b", "2026-09-05"))
    assert counted(read, *both) == {"a", "b"}


def from_day(name: str, day: str, first: str, **fields: object) -> Resource:
    """Return an active order written on *day* that may be filled from the day *first* on."""
    dispense = {"validityPeriod": {"start": first}}
    return prescribed(name, day, dispenseRequest=dispense, **fields)


def dosed_from(name: str, day: str, first: str) -> Resource:
    """Return an active order written on *day* of which the doses begin on the day *first*."""
    order = prescribed(name, day)
    (dose,) = order["dosageInstruction"]
    repeat = {**dose["timing"]["repeat"], "boundsPeriod": {"start": first}}
    return {**order, "dosageInstruction": [{**dose, "timing": {"repeat": repeat}}]}


@pytest.mark.parametrize("order", [from_day, dosed_from])
def test_prescriptions_written_together_for_one_month_after_another_are_one_dose(
    read: ReadChart, order: Callable[[str, str, str], Resource]
) -> None:
    """The last one that has begun says what is taken today."""
    september = order("september", "2026-09-05", "2026-09-05")
    october = order("october", "2026-09-05", "2026-10-05")
    december = order("december", "2026-09-05", "2026-12-05")
    assert counted(read, september, october, december) == {"october"}
    assert counted(read, october, order("same", "2026-09-05", "2026-10-05")) == {"october", "same"}
    assert counted(read, december) == {"december"}


def test_drug_with_one_more_code_than_before_is_the_same_drug(read: ReadChart) -> None:
    """Dispensed as a brand, it has the code of the clinical drug and that of the brand."""
    codes = {"coding": [{"system": RXNORM, "code": code} for code in (OXYCODONE_10, BRAND)]}
    branded = {**prescribed("b", "2026-09-05"), "medicationCodeableConcept": codes}
    later = prescribed("c", "2026-10-05", BRAND)
    assert counted(read, prescribed("a", "2026-08-05"), branded) == {"b"}
    assert counted(read, prescribed("a", "2026-08-05"), branded, later) == {"c"}


def test_prescriptions_known_only_by_ingredient_add_up(read: ReadChart) -> None:
    """They may be different drugs."""
    both = (
        prescribed("a", "2026-08-05", INGREDIENT),
        prescribed("b", "2026-09-05", INGREDIENT),
    )
    assert counted(read, *both) == {"a", "b"}


def test_prescription_without_a_day_gives_way_to_a_dated_one(read: ReadChart) -> None:
    """Nobody can say that it is the later one; alone it counts."""
    assert counted(read, prescribed("a", None), prescribed("b", "2026-09-05")) == {"b"}
    assert counted(read, prescribed("a", None)) == {"a"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (prescribed("a", "2026-08-05", INGREDIENT), {"derivedFrom": "MedicationRequest/a"}),
        (prescribed("a", "2026-08-05", INGREDIENT), {"basedOn": "MedicationRequest/a"}),
        (prescribed("a", "2026-09-05"), {}),
    ],
    ids=["derived from the order", "based on the order", "of the same drug and day"],
)
def test_statement_of_what_was_prescribed_is_no_second_dose(
    read: ReadChart, first: Resource, second: dict[str, str]
) -> None:
    """The order and what the patient says of it are one drug."""
    links = {name: [{"reference": target}] for name, target in second.items()}
    statement = stated("b", "2026-09-05", **links)
    assert counted(read, first, statement) == {"a"}


@pytest.mark.parametrize(
    "report",
    [
        stated("b", "2026-10-05", dosage=[]),
        prescribed("b", "2026-10-05", dosageInstruction=[], intent="plan", reportedBoolean=True),
    ],
    ids=["statement", "plan"],
)
def test_report_without_a_dose_leaves_the_dose_of_the_order(
    read: ReadChart, report: Resource
) -> None:
    """A nurse who notes "taking" says nothing of how much; a new order without a dose does."""
    first = prescribed("a", "2026-09-05")
    counts = [d.mme_per_day for d in read(first, report).drugs if not d.is_repeated]
    assert counts == [Decimal(60)]
    order = prescribed("b", "2026-10-05", dosageInstruction=[])
    counts = [d.mme_per_day for d in read(first, order).drugs if not d.is_repeated]
    assert counts == [None]


def test_order_that_carries_out_another_is_no_second_dose(read: ReadChart) -> None:
    """An inpatient order and its single instances are one drug."""
    first = prescribed("a", "2026-09-05", INGREDIENT)
    link = {"basedOn": [{"reference": "MedicationRequest/a"}], "intent": "instance-order"}
    assert counted(read, first, prescribed("b", "2026-09-05", INGREDIENT, **link)) == {"a"}


def test_renewal_that_names_the_one_before_takes_its_place(read: ReadChart) -> None:
    """Whatever code either of them has."""
    first = prescribed("a", "2026-08-05", INGREDIENT)
    link = {"priorPrescription": {"reference": "MedicationRequest/a"}}
    assert counted(read, first, prescribed("b", "2026-09-05", **link)) == {"b"}


def test_statement_of_an_ended_order_counts(read: ReadChart) -> None:
    """What is still taken is taken."""
    first = prescribed("a", "2026-08-05", status="completed")
    link = {"derivedFrom": [{"reference": "MedicationRequest/a"}]}
    assert counted(read, first, stated("b", "2026-08-05", **link)) == {"a", "b"}


@pytest.mark.parametrize("link", ["basedOn", "derivedFrom", "priorPrescription"])
def test_prescription_that_names_itself_counts(read: ReadChart, link: str) -> None:
    """Nobody else gives its dose."""
    itself = {"reference": "MedicationRequest/a"}
    fields = {link: itself if link == "priorPrescription" else [itself]}
    assert counted(read, prescribed("a", "2026-08-05", **fields)) == {"a"}


def renewing(name: str, day: str | None, earlier: str, **fields: object) -> Resource:
    """Return an active order that takes the place of the order *earlier*."""
    link = {"reference": f"MedicationRequest/{earlier}"}
    return prescribed(name, day, priorPrescription=link, **fields)


def ends(read: ReadChart, *entries: Resource) -> dict[str, str | None]:
    """Return the last day of each entry by its id, whatever their order."""
    found: list[dict[str, str | None]] = []
    for several in (entries, entries[::-1]):
        drugs = read(*several).drugs
        found.append({d.reference[18:]: d.ended.written if d.ended else None for d in drugs})
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("status", ["completed", "stopped"])
def test_order_that_another_renews_ran_until_then(read: ReadChart, status: str) -> None:
    """It is over and says not when; what took its place began on that day."""
    first = prescribed("a", "2026-06-05", status=status)
    second = renewing("b", "2026-07-20", "a", status=status)
    third = renewing("c", "2026-09-05", "b")
    expected = {"a": "2026-07-20", "b": "2026-09-05", "c": None}
    assert ends(read, first, second, third) == expected


def test_first_of_two_renewals_ends_an_order(read: ReadChart) -> None:
    """It was renewed as two drugs, say, or the second is a later course."""
    first = prescribed("a", "2026-06-05", status="completed")
    renewals = (renewing("b", "2026-07-20", "a"), renewing("c", "2026-07-01", "a"))
    assert ends(read, first, *renewals)["a"] == "2026-07-01"


@pytest.mark.parametrize(
    ("first", "renewal"),
    [
        ({"status": "active"}, "2026-09-05"),
        ({"status": "completed"}, None),
        ({"status": "completed"}, "2026-06-04"),
        ({"status": "completed", "authoredOn": None}, "2026-09-05"),
    ],
    ids=["still active", "renewal without a day", "renewal before it", "order without a day"],
)
def test_order_of_which_nobody_knows_when_it_ended_has_no_end(
    read: ReadChart, first: dict[str, object], renewal: str | None
) -> None:
    """Nothing is guessed."""
    order = {**prescribed("a", "2026-06-05"), **first}
    assert ends(read, order, renewing("b", renewal, "a"))["a"] is None


def test_end_that_an_order_states_stays(read: ReadChart) -> None:
    """A course of ten days that was begun again a month later is broken."""
    until = {"dispenseRequest": {"validityPeriod": {"end": "2026-06-15"}}}
    first = prescribed("a", "2026-06-05", status="completed", **until)
    assert ends(read, first, renewing("b", "2026-07-20", "a"))["a"] == "2026-06-15"


def test_statement_about_a_renewed_order_is_no_second_dose(read: ReadChart) -> None:
    """Whichever entry comes first: the order, what tells of it, or its renewal."""
    first = prescribed("first", "2026-08-05", INGREDIENT)
    told = stated("told", "2026-08-05", derivedFrom=[{"reference": "MedicationRequest/first"}])
    told["medicationCodeableConcept"] = concept(RXNORM, INGREDIENT)
    renewal = prescribed(
        "renewal",
        "2026-09-05",
        INGREDIENT,
        priorPrescription={"reference": "MedicationRequest/first"},
    )
    for entries in permutations((first, told, renewal)):
        assert counted(read, *entries) == {"renewal"}


def test_orders_that_renew_each_other_are_not_all_forgotten(read: ReadChart) -> None:
    """A circle says nothing of which one counts, so each does."""
    one = prescribed(
        "a", "2026-08-05", INGREDIENT, priorPrescription={"reference": "MedicationRequest/b"}
    )
    other = prescribed(
        "b", "2026-09-05", INGREDIENT, priorPrescription={"reference": "MedicationRequest/a"}
    )
    assert counted(read, one, other) == {"a", "b"}
