"""What the command line, the environment and the configuration file say together.

The only reader of the environment.  An option on the command line wins over its environment
variable, which wins over the configuration file.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cds_service.errors import SettingsError
from cds_service.trust.config import Config, ReloadingConfig, ServiceSettings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_STATE_DIR = Path("var")
_THREADS_FOR_OTHERS = 2
"""For health, metrics and pages; hook calls never have them."""
_MOST_CHOSEN_WORKERS = 8
"""More than this only where somebody asks for them: each process holds the knowledge once."""
_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")
_ENVIRONMENT_PREFIX = "CDS_SERVICE_"
_VARIABLES = (
    "HOST",
    "PORT",
    "CONFIG",
    "STATE_DIR",
    "DEADLINE_MS",
    "WORKERS",
    "DEV",
    "LEDGER_PASSWORD",
)
"""With the prefix before them."""

Option = str | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this process runs.

    ``config_path`` is None when no file was given; then no client is known, and without ``is_dev``
    only discovery, health and guidance answer.

    Units:
        ``deadline_ms`` in milliseconds for one hook call.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    config_path: Path | None = None
    state_dir: Path = DEFAULT_STATE_DIR
    deadline_ms: int = 450
    workers: int = 1
    threads: int = 32
    max_concurrent_requests: int = 64
    is_dev: bool = False
    dev_fhir_bases: tuple[str, ...] = ()
    """FHIR servers elsewhere that development mode may read (``sandbox open``)."""
    ledger_password: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """Return the URL this process listens at."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def most_hook_calls(self) -> int:
        """Return how many hook calls are at work at once in one process."""
        return min(self.max_concurrent_requests, max(1, self.threads - _THREADS_FOR_OTHERS))

    def without_file(self) -> Config:
        """Return the configuration of a service that was given no file."""
        return Config(
            service=ServiceSettings(
                public_base_url=self.address, accept_unreviewed_content=self.is_dev
            )
        )


def load_settings(options: Mapping[str, Option], environment: Mapping[str, str]) -> Settings:
    """Return the settings that *options*, *environment* and the configuration file make.

    Args:
        options: host, port, config, state_dir, deadline_ms, workers, dev; None means not given.
        environment: The process environment; ``CDS_SERVICE_PORT`` stands for ``--port``.

    Raises:
        SettingsError: A value is wrong, or values contradict each other.
    """
    is_dev = bool(options.get("dev")) or _given("dev", options, environment) in {"1", "true"}
    config_text = _given("config", options, environment)
    config_path = Path(str(config_text)) if config_text else None
    from_file = ReloadingConfig(config_path).current().service if config_path else None
    settings = Settings(
        config_path=config_path,
        is_dev=is_dev,
        ledger_password=environment.get(f"{_ENVIRONMENT_PREFIX}LEDGER_PASSWORD"),
    )
    if from_file is not None:
        settings = replace(
            settings,
            state_dir=from_file.state_dir or DEFAULT_STATE_DIR,
            deadline_ms=from_file.deadline_ms,
            workers=from_file.workers or _processes(),
            threads=from_file.threads,
            max_concurrent_requests=from_file.max_concurrent_requests,
        )
    settings = _with_given(settings, options, environment)
    _refuse_contradictions(settings, is_demo=from_file is not None and from_file.is_demo)
    return settings


def make_state_dir(folder: Path) -> None:
    """Make the folder for state, so that a service whose folder can never be does not start.

    A folder that is there and cannot be written is none of these: the service answers without what
    it would keep, and says so, until it can.

    Raises:
        SettingsError: There is no such folder and none can be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (FileExistsError, NotADirectoryError) as error:
        raise _no_state_dir(folder, "a file stands where a folder is needed") from error
    except OSError as error:
        raise _no_state_dir(folder, os.strerror(error.errno or 0).lower()) from error


def _no_state_dir(folder: Path, why: str) -> SettingsError:
    return SettingsError(
        f"--state-dir (or state_dir in the configuration file), {folder}: there is no such folder "
        f"and none can be made here ({why}). Name a folder on a local disk that the service's user "
        "may make or write."
    )


def unread_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence about each variable that begins like ours and is none, never its value."""
    for variable in sorted(environment):
        before, _, name = variable.partition(_ENVIRONMENT_PREFIX)
        if before or name in _VARIABLES:
            continue
        near = difflib.get_close_matches(name, _VARIABLES, n=1)
        meant = (
            f"Did you mean {_ENVIRONMENT_PREFIX}{near[0]}?"
            if near
            else f"After {_ENVIRONMENT_PREFIX} comes one of: {', '.join(_VARIABLES)}."
        )
        yield f"The environment variable {variable} is not read. {meant}"


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def _with_given(
    settings: Settings, options: Mapping[str, Option], environment: Mapping[str, str]
) -> Settings:
    """Return *settings* with what was given on the command line or in the environment."""
    host = _given("host", options, environment)
    state_dir = _given("state_dir", options, environment)
    return replace(
        settings,
        host=str(host or settings.host),
        port=_number("port", options, environment, settings.port, range(1, 65_536)),
        state_dir=Path(str(state_dir)) if state_dir else settings.state_dir,
        deadline_ms=_number(
            "deadline_ms", options, environment, settings.deadline_ms, range(50, 30_001)
        ),
        workers=_number("workers", options, environment, settings.workers, range(1, 257)),
    )


def _given(name: str, options: Mapping[str, Option], environment: Mapping[str, str]) -> Option:
    value = options.get(name)
    return value if value is not None else environment.get(_ENVIRONMENT_PREFIX + name.upper())


def _number(
    name: str,
    options: Mapping[str, Option],
    environment: Mapping[str, str],
    default: int,
    allowed: range,
) -> int:
    value = _given(name, options, environment)
    if value is None:
        return default
    if not _WHOLE_NUMBER.fullmatch(str(value)) or int(value) not in allowed:
        option = "--" + name.replace("_", "-")
        raise SettingsError(
            f"{option} (or {_ENVIRONMENT_PREFIX}{name.upper()}): this is not a whole number from "
            f"{allowed[0]} to {allowed[-1]}. Give a number in this range."
        )
    return int(value)


def _refuse_contradictions(settings: Settings, *, is_demo: bool) -> None:
    if settings.is_dev and not _is_loopback(settings.host):
        raise SettingsError(
            "--dev with --host: development mode asks no client for a token, so it may only be "
            "reached from this machine. Leave --host out (it is 127.0.0.1), or configure clients "
            "with --config and leave --dev out."
        )
    if settings.is_dev and settings.config_path is not None:
        raise SettingsError(
            "--dev with --config: development mode would ignore the clients of the file. Leave "
            "one of the two out."
        )
    if is_demo and not _is_loopback(settings.host):
        raise SettingsError(
            '--host with mode = "demo": the demonstration accepts keys everybody can read, so it '
            "may only be reached from this machine. Leave --host out (it is 127.0.0.1), or remove "
            "mode from the configuration file."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _processes() -> int:
    """Return one for each processor this process may use, and no more than a hospital needs.

    A container with little memory often sees all processors of a large machine.
    """
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        usable = os.cpu_count() or 1
    return min(usable, _MOST_CHOSEN_WORKERS)
