"""The client whose order list or local codes a command looks at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from cds_service.app import load_content
from cds_service.errors import SettingsError
from cds_service.knowledge.model import Knowledge
from cds_service.trust.config import load_config
from cds_service.trust.profile import ClientProfile

Command = TypeVar("Command", bound=Callable[..., object])


def client_options(command: Command) -> Command:
    """Add the options that name a client: ``config_file`` and ``client_id``."""
    name_client = click.option("--client", "client_id", required=True, help="Id of the client.")
    name_file = click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        envvar="CDS_SERVICE_CONFIG",
        required=True,
        help="TOML file with the service and its clients.",
    )
    return name_file(name_client(command))


def client_of(config_file: Path, client_id: str) -> tuple[ClientProfile, Knowledge]:
    """Return the client *client_id* of the configuration, and the content it is served.

    Raises:
        SettingsError: The file is wrong, or it has no such client.
        KnowledgeError: The clinical content is wrong.
    """
    config = load_config(config_file)
    for client in config.clients:
        if client.id == client_id:
            return client, load_content(config)
    known = ", ".join(client.id for client in config.clients) or "none"
    raise SettingsError(
        f"{config_file}: there is no client '{client_id}'. The clients are: {known}."
    )
