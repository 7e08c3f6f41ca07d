"""Cards that some users do not get."""

from __future__ import annotations

from cds_service.trust.profile import Role
from cds_service.trust.roles import hidden_cards, role_name

PT = Role(name="pt", codes=frozenset({"x:y|PT"}), hidden_cards=frozenset({"OPIOID", "SMOKE"}))
RN = Role(name="rn", codes=frozenset({"x:y|RN"}), hidden_cards=frozenset({"OPIOID"}))


def test_role_does_not_get_its_hidden_cards() -> None:
    """A physiotherapist does not see the opioid card; any of the codes of a role will do."""
    assert hidden_cards((PT, RN), [frozenset({"x:y|PT", "other|1"})]) == {"OPIOID", "SMOKE"}


def test_unknown_role_sees_everything() -> None:
    """No role, a role nobody named, and one unknown role beside a known one hide nothing."""
    assert hidden_cards((PT,), []) == set()
    assert hidden_cards((PT,), [frozenset({"x:y|MD"})]) == set()
    assert hidden_cards((PT,), [frozenset({"x:y|PT"}), frozenset({"x:y|MD"})]) == set()
    assert hidden_cards((PT,), [frozenset()]) == set()


def test_role_of_a_user_is_the_first_the_site_names() -> None:
    """The report counts a user under one of the site's names, or under none."""
    nurse, doctor = frozenset({"x:y|RN", "other|1"}), frozenset({"x:y|MD"})
    assert role_name((PT, RN), [doctor, nurse]) == "rn"
    assert role_name((PT, RN), [nurse, PT.codes]) == "pt"
    assert role_name((PT, RN), [doctor]) is None
    assert role_name((PT, RN), []) is None


def test_user_with_two_roles_sees_what_either_may_see() -> None:
    """Only what both roles hide stays hidden."""
    user = [frozenset({"x:y|PT"}), frozenset({"x:y|RN"})]
    assert hidden_cards((PT, RN), user) == {"OPIOID"}
