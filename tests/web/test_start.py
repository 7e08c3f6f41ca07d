"""What stops the start of the service before it listens, in one sentence."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from cds_service.errors import SettingsError
from cds_service.serving import serve
from cds_service.settings import Settings
from tests.ports import free_port


def never() -> NoReturn:
    """Stand for an application that is not to be made."""
    pytest.fail("the service started")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a service on a free port."""
    return replace(Settings(), port=free_port(), state_dir=tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_metrics_do_not_get_the_port_of_the_service(settings: Settings, host: str) -> None:
    """On another address both could listen, and the metrics would stand open at the public one."""
    with pytest.raises(SettingsError, match=r"\[metrics\] port"):
        serve(replace(settings, host=host), never, never, metrics_port=settings.port)


def test_no_folder_for_temporary_files_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where everything is read-only the operator reads what is missing."""

    def no_folder() -> NoReturn:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    with pytest.raises(SettingsError, match="TMPDIR"):
        serve(settings, never, never)
