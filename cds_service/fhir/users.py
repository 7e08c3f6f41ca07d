"""Which roles does the user have, by the Practitioner or PractitionerRole of the call?

Read only where a site hides cards from some roles.  Nothing else of the user is looked at.
"""

from __future__ import annotations

from cds_service.fhir import wire
from cds_service.fhir.answers import KeyAnswer, raw_of
from cds_service.fhir.decoding import prepare, read_resource


class _Qualification(wire.Base, frozen=True, kw_only=True):
    code: wire.CodeableConcept | None = None


class _User(wire.Base, frozen=True, kw_only=True):
    resource_type: str | None = None
    id: str | None = None
    code: tuple[wire.CodeableConcept, ...] = ()
    qualification: tuple[_Qualification, ...] = ()


prepare(_User)


def user_roles(answer: KeyAnswer | None, user_id: str) -> tuple[frozenset[str], ...]:
    """Return the codes (``system|code``) of each role of the user, empty if they are not known.

    A resource that is not the user of the call says nothing.
    """
    for raw in answer.resources if answer is not None else ():
        user = read_resource(raw_of(raw), _User)
        if user is None or f"{user.resource_type}/{user.id}" != user_id:
            continue
        concepts = (*user.code, *(item.code for item in user.qualification if item.code))
        return tuple(
            frozenset(f"{coding.system}|{coding.code}" for coding in concept.coding)
            for concept in concepts
        )
    return ()
