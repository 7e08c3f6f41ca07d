"""Which cards does this user not get?  An unknown role sees everything."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.trust.profile import Role


def hidden_cards(roles: Iterable[Role], user: Iterable[frozenset[str]]) -> frozenset[str]:
    """Return the cards hidden from a *user* with these roles (each a set of ``system|code``).

    A card is hidden only if every role of the user hides it: a role none of *roles* names, or no
    role at all, hides nothing.
    """
    known = tuple(roles)
    hidden = [
        frozenset(card for role in known if role.codes & codes for card in role.hidden_cards)
        for codes in user
    ]
    return frozenset.intersection(*hidden) if hidden else frozenset()


def role_name(roles: Iterable[Role], user: Iterable[frozenset[str]]) -> str | None:
    """Return the site's name of the user's first known role; None if none is known."""
    held = tuple(user)
    return next((role.name for role in roles if any(role.codes & codes for codes in held)), None)
