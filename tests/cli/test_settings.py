"""Command line, environment and file: who wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from cds_service.errors import SettingsError
from cds_service.settings import Settings, load_settings, make_state_dir, unread_variables
from cds_service.trust.demo_profile import generate_demo_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a configuration file that sets a deadline and threads."""
    path, _ = generate_demo_config(tmp_path, "http://127.0.0.1:9/fhir", "http://127.0.0.1:8080")
    text = path.read_text(encoding="utf-8")
    more = 'mode = "demo"\ndeadline_ms = 300\nthreads = 4\nworkers = 7'
    path.write_text(text.replace('mode = "demo"', more), encoding="utf-8")
    return path


def test_settings_are_safe_when_nothing_is_given() -> None:
    """Without a word the service listens on this machine only and knows no client."""
    assert load_settings({}, {}) == Settings()
    assert Settings().host == "127.0.0.1"
    assert not Settings().is_dev


def test_file_sets_what_is_given_nowhere_else(config: Path) -> None:
    """The configuration file decides about deadline, threads, workers and state."""
    settings = load_settings({"config": str(config)}, {})
    assert (settings.deadline_ms, settings.threads, settings.workers) == (300, 4, 7)
    assert settings.state_dir == config.parent


def test_environment_wins_over_the_file_and_the_command_line_over_both(config: Path) -> None:
    """The nearer word counts."""
    environment = {"CDS_SERVICE_CONFIG": str(config), "CDS_SERVICE_DEADLINE_MS": "400"}
    assert load_settings({}, environment).deadline_ms == 400
    assert load_settings({"deadline_ms": 500}, environment).deadline_ms == 500


def test_number_at_the_end_of_its_range_is_taken_and_the_next_is_not() -> None:
    """The ranges are those of the documentation, both ends included."""
    ends = {"port": (1, 65_535), "deadline_ms": (50, 30_000), "workers": (1, 256)}
    for name, (lowest, highest) in ends.items():
        for number in (lowest, highest):
            assert getattr(load_settings({name: number}, {}), name) == number
        option = "--" + name.replace("_", "-")
        for number in (lowest - 1, highest + 1):
            with pytest.raises(SettingsError, match=rf"{option}.*from {lowest} to {highest}\."):
                load_settings({name: number}, {})


def test_file_that_says_nothing_of_processes_gets_one_for_each_processor(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those it may use, and no more than eight: each needs memory, and a container has little."""
    text = config.read_text(encoding="utf-8").replace("workers = 7", "max_concurrent_requests = 3")
    config.write_text(text, encoding="utf-8")

    def chosen() -> tuple[int, int]:
        settings = load_settings({"config": str(config)}, {})
        return settings.workers, settings.max_concurrent_requests

    for cores, workers in ((1, 1), (8, 8), (9, 8), (64, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: range(cores))
        assert chosen() == (workers, 3)
    assert load_settings({"config": str(config), "workers": 64}, {}).workers == 64
    monkeypatch.delattr("os.sched_getaffinity")  # macOS has none
    for known, workers in ((6, 6), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda known=known: known)
        assert chosen() == (workers, 3)


@pytest.mark.parametrize(
    ("threads", "most", "calls"), [(32, 64, 30), (32, 10, 10), (3, 64, 1), (2, 64, 1), (1, 64, 1)]
)
def test_hook_calls_leave_two_threads_for_health_and_pages(
    threads: int, most: int, calls: int
) -> None:
    """One hook call has a thread in any case."""
    assert Settings(threads=threads, max_concurrent_requests=most).most_hook_calls == calls


def test_state_folder_that_is_given_wins_over_that_of_the_file(config: Path) -> None:
    """A container mounts it where it likes."""
    environment = {"CDS_SERVICE_CONFIG": str(config), "CDS_SERVICE_STATE_DIR": "/elsewhere"}
    assert load_settings({}, environment).state_dir == Path("/elsewhere")


def test_password_of_the_ledger_comes_from_the_environment_and_is_not_shown() -> None:
    """Who prints the settings prints no secret."""
    settings = load_settings({}, {"CDS_SERVICE_LEDGER_PASSWORD": "CanaryShaw"})
    assert settings.ledger_password == "CanaryShaw"
    assert "CanaryShaw" not in repr(settings)


@pytest.mark.parametrize(("said", "is_dev"), [("1", True), ("true", True), ("0", False)])
def test_development_mode_by_the_environment(said: str, *, is_dev: bool) -> None:
    """Only a clear yes is one; drafts are served without being accepted in this mode alone."""
    settings = load_settings({}, {"CDS_SERVICE_DEV": said})
    assert settings.is_dev is is_dev
    assert settings.without_file().service.accept_unreviewed_content is is_dev
    assert settings.without_file().service.public_base_url == "http://127.0.0.1:8080"


def test_development_mode_and_a_file_contradict_each_other(config: Path) -> None:
    """The clients of the file would be ignored, and nobody be asked for a token."""
    with pytest.raises(SettingsError, match="--dev with --config"):
        load_settings({"dev": True, "config": str(config)}, {})


def test_misspelt_variable_is_told_without_its_value() -> None:
    """It has no effect, and nobody would notice; others may have put such variables there."""
    environment = {
        "CDS_SERVICE_DEADLINE": "300",
        "CDS_SERVICE_PORT": "1",
        "PATH": "x",
        "OUR_CDS_SERVICE_NAME": "x",
    }
    (told,) = unread_variables(environment)
    assert told == (
        "The environment variable CDS_SERVICE_DEADLINE is not read. "
        "Did you mean CDS_SERVICE_DEADLINE_MS?"
    )
    (told,) = unread_variables({"CDS_SERVICE_QQQQ": "secret", "CDS_SERVICE_LEDGER_PASSWORD": "x"})
    assert "HOST, PORT" in told
    assert "secret" not in told


def test_variable_that_is_read_is_not_told() -> None:
    """Nobody is sent to look for a mistake that is none."""
    names = "HOST PORT CONFIG STATE_DIR DEADLINE_MS WORKERS DEV LEDGER_PASSWORD"
    assert not list(unread_variables({f"CDS_SERVICE_{name}": "1" for name in names.split()}))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_development_mode_may_listen_on_this_machine(host: str) -> None:
    """Every form of loopback is this machine."""
    assert load_settings({"dev": True, "host": host}, {}).is_dev


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", "127.0.0.1.x"])
def test_development_mode_may_not_listen_anywhere_else(host: str) -> None:
    """No token is asked for, so nobody else may reach it, not even by environment."""
    with pytest.raises(SettingsError, match="--dev with --host"):
        load_settings({"dev": True}, {"CDS_SERVICE_HOST": host})
    with pytest.raises(SettingsError, match="--dev with --host"):
        load_settings({"host": host}, {"CDS_SERVICE_DEV": "1"})


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "8080.0", "٣"])
def test_port_is_refused_when_it_is_no_port(port: str) -> None:
    """A wrong number names the option and the range."""
    with pytest.raises(SettingsError, match="--port"):
        load_settings({}, {"CDS_SERVICE_PORT": port})


def test_address_of_ipv6_is_written_in_brackets() -> None:
    """An IPv6 address is a valid URL."""
    assert Settings(host="::1", port=9).address == "http://[::1]:9"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_demonstration_may_not_listen_anywhere_but_on_this_machine(config: Path, host: str) -> None:
    """Its keys can be public and its days are free to choose, so nobody else may reach it."""
    with pytest.raises(SettingsError, match=r"--host with mode"):
        load_settings({"config": str(config), "host": host}, {})
    with pytest.raises(SettingsError, match=r"--host with mode"):
        load_settings({}, {"CDS_SERVICE_CONFIG": str(config), "CDS_SERVICE_HOST": host})
    assert load_settings({"config": str(config), "host": "::1"}, {}).host == "::1"


def test_service_with_clients_of_its_own_may_be_reached_from_the_network(tmp_path: Path) -> None:
    """A hospital in production listens where its EHR calls from."""
    path = tmp_path / "cds.toml"
    path.write_text(
        f"""
        [service]
        public_base_url = "https://cds.hospital.example"
        identity_key = "{"ab" * 32}"
        accept_unreviewed_content = true
        """,
        encoding="utf-8",
    )
    settings = load_settings({"config": str(path), "host": "0.0.0.0"}, {})
    assert settings.host == "0.0.0.0"
    assert settings.state_dir == Path("var")


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_state_folder_that_can_never_be_is_refused(tmp_path: Path, name: str) -> None:
    """A file in the place of the folder is told before anything listens, with what to do."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"state_dir.*a file stands.*Name a folder"):
        make_state_dir(tmp_path / name)


def test_state_folder_where_nobody_may_make_one_is_refused() -> None:
    """The reason the system gives is said in words."""
    with pytest.raises(SettingsError, match=r"/proc/state: .*no such file.*Name a folder"):
        make_state_dir(Path("/proc/state"))


def test_state_folder_is_made_for_the_service_alone(tmp_path: Path) -> None:
    """What is kept is nobody else's to read; a folder that is there stays as it is."""
    folder = tmp_path / "var" / "state"
    make_state_dir(folder)
    make_state_dir(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
