"""What stops the start of the service before it listens, in one sentence."""

from __future__ import annotations

import errno
import os
import socket
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


def test_port_that_another_program_has_is_said(settings: Settings) -> None:
    """Whoever starts the service a second time reads that the first one is still there."""
    with socket.create_server(("127.0.0.1", settings.port)):  # noqa: SIM117 - what, then why
        with pytest.raises(SettingsError, match=rf"{settings.port}: .*another program has it"):
            serve(settings, never, never)


@pytest.mark.parametrize("host", ["192.0.2.77", "nobody.invalid", "2001:db8::77", "[::1]"])
def test_address_of_another_machine_is_said(settings: Settings, host: str) -> None:
    """A name that nobody knows and an address in brackets are none of this machine either."""
    with pytest.raises(SettingsError, match="it is not an address of this machine"):
        serve(replace(settings, host=host), never, never)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EACCES, "the service's user may not listen at this port"),
        (errno.EAFNOSUPPORT, "this machine has no addresses of this kind"),
    ],
)
def test_what_the_machine_forbids_is_not_taken_for_another_program(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int, why: str
) -> None:
    """Port 443 without the right to it, and ::1 where IPv6 is switched off, are told as such."""

    def forbidden(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", forbidden)
    with pytest.raises(SettingsError, match=why):
        serve(settings, never, never)
