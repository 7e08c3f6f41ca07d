"""How does ``cards/`` become a frozen ``Knowledge``?  Read once at start-up, refused when wrong.

The only reader of ``cards/`` apart from the checks that ``make knowledge`` runs.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cds_service.errors import KnowledgeError
from cds_service.knowledge.building import build_knowledge
from cds_service.knowledge.checking import problems
from cds_service.knowledge.documents import Document, read_document, schema_problems
from cds_service.knowledge.drugs import FILE as DRUGS
from cds_service.knowledge.drugs import read_drugs
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.site_files import content_over, misfits

_SCHEMA_OF_FOLDER = {
    "thresholds": "threshold",
    "value-sets": "value-set",
    "templates": "card",
    "orders": "order",
    "phenotypes": "phenotype",
}
_SINGLE_FILES = frozenset(
    {"knowledge", "sources", "claims", "phrases", "mme-factors", "override-reasons"}
)
_SITE_MAY_REPLACE = frozenset({"thresholds", "value-sets", "templates", "orders"})
_MOST_PROBLEMS_SHOWN = 30
_MEANT_AS_YAML = re.compile(r"[^.].*\.ya?ml(?:\.txt)?$", re.IGNORECASE)


def load_knowledge(root: Path | None = None, *, site_overrides: Path | None = None) -> Knowledge:
    """Read, check and freeze the folder *root*, which is the packaged ``cards/`` by default.

    *site_overrides* is a folder of the same layout; its files replace the threshold, value set,
    card or order of the same id, and its ``sources.yaml`` adds sources.  A card may be just
    ``{id, enabled}``; before the first day of a site's number ours counts.

    Raises:
        KnowledgeError: Something in the files is wrong; the text lists every fault found.
    """
    folder = root if root is not None else cards_folder()
    ours = documents = _read_folder(folder)
    files = [("cards", document) for document in ours.values()]
    schemas = folder / "schemas"
    site = _read_site(site_overrides) if site_overrides is not None else {}
    files += [("site", document) for document in site.values()]
    documents = _replaced(ours, site)
    missing = [f"cards/{name}.yaml" for name in _SINGLE_FILES if f"{name}.yaml" not in documents]
    _refuse([f"{name}: this file is missing. Put it back." for name in sorted(missing)])
    replaced = [ours[key] for key in site]
    _refuse(
        [fault for each in (*documents.values(), *replaced) for fault in _faults(each, schemas)]
    )
    _refuse([fault for key in site for fault in misfits(ours[key], documents[key])])
    contents = {key: content_over(ours[key], document) for key, document in documents.items()}
    drugs = _drugs(folder)
    files.append(("cards", drugs))
    knowledge = build_knowledge(contents, read_drugs(drugs), _digest(files))
    found = problems(knowledge, has_site=bool(site))
    _refuse([_placed(problem, documents) for problem in found])
    return knowledge


def cards_folder() -> Path:
    """Return the folder ``cards/``: inside the installed package, else beside it in a checkout.

    Raises:
        KnowledgeError: It is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "cards", package.parent / "cards"):
        if (folder / "knowledge.yaml").is_file():
            return folder
    raise KnowledgeError(
        "cards/: the folder is neither in the package nor beside it. Install the package again."
    )


def _read_folder(root: Path) -> dict[str, Document]:
    if not root.is_dir():
        raise KnowledgeError(f"{root}: there is no such folder. Correct the path.")
    documents: dict[str, Document] = {}
    faults: list[str] = []
    for path in sorted(_yaml_files(root, faults)):
        if path.suffix != ".yaml":
            faults.append(
                f"{root.name}/{path.relative_to(root).as_posix()}: nobody would read a file of "
                "this name. Let it end in .yaml (small letters, nothing after it)."
            )
            continue
        try:
            document = read_document(path, root)
        except KnowledgeError as fault:
            faults.append(str(fault))
        else:
            documents[document.key] = document
    _refuse(faults)
    return documents


def _yaml_files(root: Path, faults: list[str]) -> Iterator[Path]:
    """Yield the YAML files below *root*, also behind links; what is hidden is passed over.

    So are other files, but not one that was meant to be YAML (".yml", ".YAML", ".yaml.txt").

    A folder that cannot be read is added to *faults*: without its files ours would count.
    """

    def unreadable(error: OSError) -> None:
        faults.append(
            f"{error.filename}: this folder cannot be read ({error.strerror}). Let the service's "
            "user read it."
        )

    for folder, below, names in os.walk(root, onerror=unreadable, followlinks=True):
        below[:] = [name for name in below if not name.startswith(".")]
        found = (*below, *names)  # a folder with the name of a file is a fault of its reader
        yield from (Path(folder, name) for name in found if _MEANT_AS_YAML.match(name))


def _read_site(root: Path) -> dict[str, Document]:
    if (root / DRUGS).exists():
        raise KnowledgeError(
            f"{root}/{DRUGS}: a site cannot replace the table of drugs. Remove the file; a drug "
            "that is missing belongs into cards/."
        )
    documents = _read_folder(root)
    if not documents:
        raise KnowledgeError(
            f"{root}: this folder of the site is empty, so its own numbers and words would be "
            "ours. See that its disk is there, or remove site_cards from the configuration."
        )
    return documents


def _drugs(root: Path) -> Document:
    try:
        text = (root / DRUGS).read_bytes()
    except FileNotFoundError:
        raise KnowledgeError(f"cards/{DRUGS}: this file is missing. Put it back.") from None
    return Document(name=f"cards/{DRUGS}", key=DRUGS, text=text, content={})


def _refuse(faults: list[str]) -> None:
    if not faults:
        return
    shown = faults[:_MOST_PROBLEMS_SHOWN]
    if len(faults) > len(shown):
        shown.append(f"... and {len(faults) - len(shown)} more.")
    raise KnowledgeError("\n".join(shown))


def _placed(problem: str, documents: Mapping[str, Document]) -> str:
    """Return *problem* with the site's files in place of ours, where the site has replaced them."""
    for key, document in documents.items():
        problem = problem.replace(f"cards/{key}", document.name)
    return problem


def _faults(document: Document, schemas: Path) -> list[str]:
    folder, _, rest = document.key.rpartition("/")
    if folder in _SCHEMA_OF_FOLDER:
        faults = schema_problems(document, schemas / f"{_SCHEMA_OF_FOLDER[folder]}.schema.json")
        return faults or [*_name_faults(document), *_retired_faults(document)]
    if not folder and document.stem in _SINGLE_FILES:
        faults = schema_problems(document, schemas / f"{document.stem}.schema.json")
        return faults or _retired_faults(document)
    fault = (
        f"{document.name}: no file '{rest}' belongs here. Move it into its folder, or remove it."
    )
    return [fault]


def _name_faults(document: Document) -> list[str]:
    if document.content["id"] == document.stem:
        return []
    fault = f"{document.name}: the id '{document.content['id']}' is not the file name."
    return [f"{fault} Write id: {document.stem}, or rename the file."]


def _retired_faults(document: Document) -> list[str]:
    """Return the fault of a file that is no longer to be used, and is."""
    content = document.content
    if content.get("status") != "retired" or content.get("enabled") is False:
        return []
    fault = f"{document.name}: status 'retired' keeps a file for the record only; this one is used."
    return [f"{fault} Set the status back; a card is switched off with enabled: false."]


def _replaced(base: dict[str, Document], site: dict[str, Document]) -> dict[str, Document]:
    documents = dict(base)
    for key, document in site.items():
        folder = key.rpartition("/")[0]
        if key == "sources.yaml":
            _refuse(_our_sources(base[key], document))
            content = {**base[key].content, **document.content}
        elif folder in _SITE_MAY_REPLACE and key in base:
            content = _site_content(base[key], document, folder)
        else:
            near = get_close_matches(key, base, n=1)
            raise KnowledgeError(
                f"{document.name}: a site may replace a threshold, value set, card or order that "
                "exists, and add sources; this is none of them. "
                + (f"Did you mean {near[0]}? " if near else "")
                + "Correct the file name; after an upgrade, look whether ours has gone."
            )
        documents[key] = Document(name=document.name, key=key, text=document.text, content=content)
    return documents


def _our_sources(base: Document, document: Document) -> list[str]:
    """Return the sources of ours that a site would change under our cards."""
    return [
        f"{document.name}: '{key}' is a source of ours, and cards cite it. Give yours another name."
        for key in document.content
        if document.content[key] != base.content.get(key, document.content[key])
    ]


def _site_content(base: Document, document: Document, folder: str) -> dict[str, Any]:
    if folder == "templates" and set(document.content) == {"id", "enabled"}:
        return {**base.content, **document.content}
    return document.content


def _digest(files: Iterable[tuple[str, Document]]) -> str:
    """Return the SHA-256 over names and bytes in sorted order, wherever the folders lie."""
    total = hashlib.sha256()
    for origin, document in sorted(files, key=lambda each: (each[0], each[1].key)):
        total.update(f"{origin}/{document.key}\0{len(document.text)}\0".encode())
        total.update(document.text)
    return total.hexdigest()
