"""How many of the codes in a sample of charts does this service know?

Counts codes; never looks at values, names, words or whose chart it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from cds_service.fhir.coding import Vocabulary
from cds_service.fhir.wire import Coding

_CODED: Mapping[str, tuple[str, ...]] = {
    "Procedure": ("code",),
    "Condition": ("code",),
    "Observation": ("code", "component.code"),
    "ServiceRequest": ("code",),
    "DiagnosticReport": ("code",),
    "ImagingStudy": ("procedureCode",),
    "MedicationRequest": ("medicationCodeableConcept",),
    "MedicationStatement": ("medicationCodeableConcept",),
    "Medication": ("code", "ingredient.itemCodeableConcept"),
    "Device": ("type",),
    "Encounter": ("type",),
    "AllergyIntolerance": ("code",),
}
"""Where each kind of resource says what it is."""
_MORE: Mapping[str, tuple[str, ...]] = {
    "Procedure": ("bodySite",),
    "Condition": ("bodySite",),
    "Observation": ("valueCodeableConcept", "bodySite", "component.valueCodeableConcept"),
}
"""Where a resource with a known code says more in codes."""
_CODE_LIKE = re.compile(r"[A-Za-z0-9._:/#+=~-]{1,64}", re.ASCII)
_SYSTEM_LIKE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}:[^\s|]{1,200}", re.ASCII)

CodeName = tuple[str, str, str]
"""Kind of resource, system, code."""


@dataclass(slots=True)
class Coverage:
    """What a sample of charts holds, in counts."""

    known: Counter[CodeName] = field(default_factory=Counter)
    unmapped: Counter[CodeName] = field(default_factory=Counter)
    text_only: Counter[str] = field(default_factory=Counter)
    """Entries by kind that have words but no code with a system."""
    meanings: dict[CodeName, tuple[str, ...]] = field(default_factory=dict)

    def count(self, resources: Iterable[Mapping[str, object]], vocabulary: Vocabulary) -> None:
        """Add *resources*, with their contained ones, to the counts."""
        for resource in resources:
            kind = str(resource.get("resourceType"))
            own = [self._count_path(resource, path, vocabulary) for path in _CODED.get(kind, ())]
            if any(own):
                for path in _MORE.get(kind, ()):
                    self._count_path(resource, path, vocabulary)
            self.count(_objects(resource.get("contained")), vocabulary)

    def _count_path(
        self, resource: Mapping[str, object], path: str, vocabulary: Vocabulary
    ) -> bool:
        """Count what stands at *path*; return whether any of it is known."""
        kind = str(resource.get("resourceType"))
        found = [
            self._count_concept(kind, concept, vocabulary)
            for concept in _at(resource, path.split("."))
        ]
        return any(found)

    def _count_concept(
        self, kind: str, concept: Mapping[str, object], vocabulary: Vocabulary
    ) -> bool:
        codings = [
            (str(coding["system"]), str(coding["code"]))
            for coding in _objects(concept.get("coding"))
            if coding.get("system") and coding.get("code")
        ]
        if not codings:
            self.text_only[kind] += 1
            return False
        self._count_sides(kind, concept, vocabulary)
        found = {
            (kind, *_shown(system, code)): vocabulary.of_coding(
                Coding(system=system, code=code)
            ).meanings
            for system, code in codings
        }
        is_known = any(found.values())
        for name, meanings in found.items():
            if meanings:
                self.known[name] += 1
                self.meanings[name] = tuple(sorted({concept for concept, _ in meanings}))
            elif not is_known:
                self.unmapped[name] += 1
        return is_known

    def _count_sides(
        self, kind: str, concept: Mapping[str, object], vocabulary: Vocabulary
    ) -> None:
        """Count the sides that extensions of *concept* or of its codes state."""
        for coding in _qualifiers(concept):
            system, code = str(coding.get("system")), str(coding.get("code"))
            meaning = vocabulary.of_coding(Coding(system=system, code=code))
            if meaning.side is not None:
                name = (kind, *_shown(system, code))
                self.known[name] += 1
                self.meanings[name] = tuple(sorted({each for each, _ in meaning.meanings}))


def _qualifiers(concept: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield the codings in extensions of *concept* and of its codes."""
    for qualified in (concept, *_objects(concept.get("coding"))):
        for extension in _objects(qualified.get("extension")):
            yield from _at(extension, ["valueCoding"])
            yield from _at(extension, ["valueCodeableConcept", "coding"])


def _shown(system: str, code: str) -> tuple[str, str]:
    """Return system and code, or a note in place of what does not look like one."""
    return (
        system if _SYSTEM_LIKE.fullmatch(system) else "(no URI)",
        code if _CODE_LIKE.fullmatch(code) else "(not a code)",
    )


def _at(resource: Mapping[str, object], path: list[str]) -> Iterator[Mapping[str, object]]:
    value = resource.get(path[0])
    for item in [value] if _is_object(value) else _objects(value):
        if len(path) == 1:
            yield item
        else:
            yield from _at(item, path[1:])


def _objects(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)
