"""Which knowledge does a name on the command line mean: a folder, a site's folder, a revision?"""

from __future__ import annotations

import io
import shutil
import subprocess  # nosec B404 - runs git only, without a shell
import tarfile
import tempfile
from pathlib import Path

from cds_service.errors import KnowledgeError
from cds_service.knowledge.loading import load_knowledge
from cds_service.knowledge.model import Knowledge

_MARK_OF_CARDS = "knowledge.yaml"


def knowledge_at(place: str) -> Knowledge:
    """Return the knowledge at *place*.

    A folder with ``knowledge.yaml`` is a whole ``cards/``; any other folder is a site's own, laid
    over ours.  What is no folder is a revision of the git checkout in the current folder.

    Raises:
        KnowledgeError: It is none of them, or something in its files is wrong.
    """
    folder = Path(place)
    if not folder.is_dir():
        return _of_revision(place)
    if (folder / _MARK_OF_CARDS).is_file():
        return load_knowledge(folder)
    return load_knowledge(site_overrides=folder)


def _of_revision(revision: str) -> Knowledge:
    fault = KnowledgeError(
        f"{revision}: this is neither a folder nor a git revision with a folder cards/. Give a "
        "folder laid out like cards/, a site's folder, or run the command in a git checkout."
    )
    git = shutil.which("git")
    if git is None or revision.startswith("-"):
        raise fault
    command = [git, "archive", "--format=tar", revision, "cards"]
    archive = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  # nosec B603
    if archive.returncode != 0:
        raise fault
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")  # nosec B202 - the filter keeps them inside
        return load_knowledge(Path(folder) / "cards")
