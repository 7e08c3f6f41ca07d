"""A token is accepted once, over threads, processes, restarts and a lost store."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from cds_service.errors import OverloadedError
from cds_service.trust import replay
from cds_service.trust.replay import ReplayStore
from cds_service.turns import Turns
from tests.locked_file import locked_file
from tests.patience import PATIENT_SECONDS

NOW = 1_770_000_000
STORE = "used-tokens.sqlite3"


def claim(store: ReplayStore, jti: str = "a", *, now: int = NOW, refuses: bool = False) -> bool:
    """Claim a token that lives for 100 seconds."""
    return store.claim("iss", jti, expires_at=now + 100, now=now, refuses=refuses)


def _claim_in_child(state_dir: str, results: multiprocessing.Queue[bool]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "_BUSY_TIMEOUT_SECONDS", 30)  # a slow disk is no part of this
        results.put(claim(ReplayStore(Path(state_dir))))


def _claim_inherited(store: ReplayStore, jti: str, results: multiprocessing.Queue[bool]) -> None:
    results.put(claim(store, jti))


def test_second_use_is_refused_until_the_token_has_expired(tmp_path: Path) -> None:
    """A token is kept up to and including its last second, also over a restart."""
    store = ReplayStore(tmp_path)
    assert claim(store)
    assert not claim(store)
    assert not ReplayStore(tmp_path).claim(
        "iss", "a", expires_at=NOW + 200, now=NOW + 100, refuses=False
    )
    assert ReplayStore(tmp_path).claim(
        "iss", "a", expires_at=NOW + 200, now=NOW + 101, refuses=False
    )


def test_used_tokens_are_for_the_service_only(tmp_path: Path) -> None:
    """Nobody else on the machine may read the file, also in a folder that was there before."""
    tmp_path.chmod(0o755)
    store = ReplayStore(tmp_path)
    assert claim(store)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_issuer_and_jti_do_not_run_into_each_other(tmp_path: Path) -> None:
    """The same jti of another issuer is another token."""
    store = ReplayStore(tmp_path)
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", "")]
    assert all(
        store.claim(issuer, jti, expires_at=NOW + 9, now=NOW, refuses=False)
        for issuer, jti in pairs
    )


def test_thirty_two_threads_and_one_token_give_one_acceptance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 32 uses at the same moment exactly one is the first, with one store or with many."""
    monkeypatch.setattr(replay, "_PATIENCE_SECONDS", PATIENT_SECONDS)  # a slow disk is no part
    for stores in (
        [ReplayStore(tmp_path / "one")] * 32,
        [ReplayStore(tmp_path / "many") for _ in range(32)],
    ):
        start, accepted = threading.Barrier(32), []
        for store in stores:
            store.open()

        def use(store: ReplayStore, start: threading.Barrier, accepted: list[bool]) -> None:
            start.wait()
            accepted.append(claim(store, refuses=False))

        threads = [threading.Thread(target=use, args=(store, start, accepted)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(accepted) == 32
        assert sum(accepted) == 1


def test_replay_in_another_process_is_refused(tmp_path: Path) -> None:
    """Eight worker processes share one store: one of them accepts the token."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[bool] = context.Queue()
    workers = [
        context.Process(target=_claim_in_child, args=(str(tmp_path), results)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(answers) == [False, False, False, True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_store_opened_before_a_fork_works_after_it(tmp_path: Path) -> None:
    """A worker that inherits an open store opens its own connection and sees the same tokens."""
    store = ReplayStore(tmp_path)
    assert claim(store, "before")
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bool] = context.Queue()
    answers = []
    for jti in ("before", "after"):
        worker = context.Process(target=_claim_inherited, args=(store, jti, results))
        worker.start()
        answers.append(results.get(timeout=60))
        worker.join()
    assert answers == [False, True]
    assert not claim(store, "after")


def count(state_dir: Path) -> int:
    """Return how many used tokens the file holds."""
    with closing(sqlite3.connect(state_dir / STORE)) as file:
        found: int = file.execute("SELECT count(*) FROM used_token").fetchone()[0]
        return found


def test_expired_tokens_are_removed(tmp_path: Path) -> None:
    """The store does not grow for ever."""
    moment = [0.0]
    store = ReplayStore(tmp_path, monotonic=lambda: moment[0])
    for number in range(20):
        claim(store, str(number))
    moment[0] += 61
    claim(store, "late", now=NOW + 3701)
    store.tidy()
    assert count(tmp_path) == 1


def test_used_token_stays_refused_when_the_clock_was_ahead_for_a_while(tmp_path: Path) -> None:
    """The clock goes ten minutes too fast, somebody calls, and it is set right again."""
    moment = [0.0]
    store = ReplayStore(tmp_path, monotonic=lambda: moment[0])
    assert claim(store)
    moment[0] += 61
    assert claim(store, "meanwhile", now=NOW + 600)
    store.tidy()
    assert not claim(store)
    assert not claim(ReplayStore(tmp_path))


def test_token_used_during_a_loss_is_soon_refused_elsewhere_though_nobody_calls(
    tmp_path: Path,
) -> None:
    """The process that remembers it writes it as soon as the file is back."""
    store = ReplayStore(tmp_path)
    store.open()
    with locked_file(tmp_path / STORE):
        assert claim(store)
        store.tidy()
        assert store.is_lost
    store.tidy()
    assert not store.is_lost
    assert not claim(ReplayStore(tmp_path))


def test_call_after_a_long_loss_does_not_pay_for_all_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many tokens are written by a thread that answers nobody; meanwhile none passes twice."""
    monkeypatch.setattr(replay, "_MOST_SAVED_BY_A_CALL", 10)
    moment = [0.0]
    store = ReplayStore(tmp_path, monotonic=lambda: moment[0])
    store.open()
    with locked_file(tmp_path / STORE):
        for number in range(20):
            claim(store, str(number))
    moment[0] += 6
    assert claim(store, "after")
    assert count(tmp_path) == 0
    store.tidy()
    assert count(tmp_path) == 21
    assert not any(claim(store, str(number)) for number in range(20))
    assert not store.is_lost


def test_no_call_waits_until_the_journal_is_in_the_file(tmp_path: Path) -> None:
    """That waits for the disk, which may be slow."""
    file, journal = tmp_path / STORE, tmp_path / f"{STORE}-wal"
    store = ReplayStore(tmp_path)
    store.open()
    before = file.stat().st_size
    number = 0
    while journal.stat().st_size < 5_000_000:
        number += 1
        claim(store, str(number))
    assert file.stat().st_size == before
    store.tidy()
    assert file.stat().st_size > before
    assert journal.stat().st_size < 100_000
    assert count(tmp_path) == number


def test_client_that_uses_very_many_tokens_locks_no_other_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process no longer remembers by itself the file still knows, for all of them."""
    monkeypatch.setattr(replay, "_MOST_REMEMBERED", 2)
    store = ReplayStore(tmp_path)
    assert all(claim(store, jti, refuses=True) for jti in "abcd")
    assert not any(claim(store, jti) for jti in "abcd")
    assert not any(claim(ReplayStore(tmp_path), jti) for jti in "abcd")


def test_more_tokens_than_a_process_can_hold_are_refused_while_the_file_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory has an end: new tokens wait until those have expired of which nobody knows now."""
    monkeypatch.setattr(replay, "_MOST_REMEMBERED", 2)
    moment = [0.0]
    store = ReplayStore(tmp_path, monotonic=lambda: moment[0])
    assert all(claim(store, jti) for jti in "ab")
    assert claim(store, "c", now=NOW + 50)
    with locked_file(tmp_path / STORE):
        with pytest.raises(OverloadedError):
            claim(store, "c", now=NOW + 50)
        with pytest.raises(OverloadedError):
            claim(store, "d", now=NOW + 50)
        assert not claim(store, "a")
        moment[0] += 60
        with pytest.raises(OverloadedError):
            claim(store, "c", now=NOW + 150)
        assert claim(store, "d", now=NOW + 151)


def test_store_holds_no_text_of_a_token(tmp_path: Path) -> None:
    """What lies on the disk does not repeat issuer or jti."""
    store = ReplayStore(tmp_path)
    store.claim("https://canary-issuer", "canary-jti", expires_at=NOW + 9, now=NOW, refuses=False)
    store.close()
    for file in tmp_path.iterdir():
        assert b"canary" not in file.read_bytes()


def _take_away(state_dir: Path) -> None:
    for file in state_dir.glob("used-tokens*"):
        file.unlink()


def spoil(state_dir: Path) -> None:
    """Make the store something that is no database."""
    _take_away(state_dir)
    (state_dir / STORE).write_bytes(b"not a database " * 100)


def test_lost_store_is_replaced_by_memory_when_configured(tmp_path: Path) -> None:
    """Tokens used before and during the loss stay refused in this process, and after it in all."""
    moment = [0.0]
    store = ReplayStore(tmp_path, monotonic=lambda: moment[0])
    assert claim(store, "before")
    spoil(tmp_path)
    assert claim(store, "during")
    assert store.is_lost
    assert not claim(store, "before")
    assert not claim(store, "during")
    (tmp_path / STORE).unlink()
    moment[0] += 4.9
    assert claim(store, "sooner")
    assert store.is_lost, "the disk is tried every five seconds only"
    moment[0] += 0.1
    assert claim(store, "later")
    assert not store.is_lost
    assert not claim(ReplayStore(tmp_path), "during")


def test_lost_store_refuses_when_configured(tmp_path: Path) -> None:
    """With refuse, nothing that could be a replay is accepted; the client hears when to retry."""
    (tmp_path / STORE).mkdir()
    store = ReplayStore(tmp_path)
    for _ in range(2):
        with pytest.raises(OverloadedError) as caught:
            claim(store, refuses=True)
        assert caught.value.retry_after_seconds == 5
    (tmp_path / STORE).rmdir()
    assert claim(ReplayStore(tmp_path), refuses=True)


def test_store_that_refuses_stays_lost_until_it_can_be_written(tmp_path: Path) -> None:
    """A file that opens and cannot be written is no store that is back: the alarm must last."""
    store = ReplayStore(tmp_path)
    claim(store, "first")
    store.tidy()  # else there would be expired tokens to remove, which shows it too
    with locked_file(tmp_path / STORE):
        with pytest.raises(OverloadedError):
            claim(store, refuses=True)
        store.tidy()
        assert store.is_lost
    store.tidy()
    assert not store.is_lost
    assert claim(store, refuses=True)


def test_locked_store_counts_as_lost_for_a_moment(tmp_path: Path) -> None:
    """A writer that holds the store does not hold up the answer, and nothing passes twice."""
    store = ReplayStore(tmp_path)
    claim(store, "first")
    with locked_file(tmp_path / STORE):
        assert claim(store, "during")
        assert not claim(store, "during")


def test_call_that_has_waited_in_line_does_not_wait_for_the_store_as_long_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others before it waited for the locked file too; its answer must not be late."""
    store = ReplayStore(tmp_path)
    store.open()
    monkeypatch.setattr(replay, "_PATIENCE_SECONDS", 5)
    with locked_file(tmp_path / STORE), Turns().turn(time.monotonic() - 5):
        begun = time.monotonic()
        assert claim(store)
        assert time.monotonic() - begun < 2


def test_processes_that_make_the_file_together_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the first start one worker finds the file half made by another, and loses nothing."""
    monkeypatch.setattr(replay, "_BUSY_TIMEOUT_SECONDS", 30)
    other = sqlite3.connect(tmp_path / STORE, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    store = ReplayStore(tmp_path)
    done = threading.Timer(0.1, other.execute, ["COMMIT"])
    done.start()
    assert claim(store)
    done.join()
    other.close()
    assert not store.is_lost
    assert not claim(ReplayStore(tmp_path))


def test_replaced_file_is_noticed(tmp_path: Path) -> None:
    """When someone deletes the file, all processes go on with the new one."""
    moment = [0.0]
    first, second = (ReplayStore(tmp_path, monotonic=lambda: moment[0]) for _ in range(2))
    claim(first, "a")
    claim(second, "b")
    _take_away(tmp_path)
    for _ in range(2):
        first.tidy()
        second.tidy()
        moment[0] += 2
    assert claim(first, "c")
    assert not claim(second, "c")
    assert not first.is_lost
    assert not second.is_lost


def test_tokens_used_before_the_file_vanished_are_soon_refused_everywhere(tmp_path: Path) -> None:
    """Somebody tidied the folder up: each process writes what it remembers into the new file."""
    first, second = ReplayStore(tmp_path), ReplayStore(tmp_path)
    assert claim(first, "a")
    assert claim(second, "b")
    _take_away(tmp_path)
    first.tidy()
    second.tidy()
    assert [claim(ReplayStore(tmp_path), jti) for jti in "abc"] == [False, False, True]
    _take_away(tmp_path)
    first.tidy()
    assert not claim(ReplayStore(tmp_path), "a")


def test_nothing_that_could_be_a_replay_passes_when_the_file_has_vanished(tmp_path: Path) -> None:
    """With refuse, a process that finds another file waits until all have written into it."""
    moment = [0.0]
    first, second = (ReplayStore(tmp_path, monotonic=lambda: moment[0]) for _ in range(2))
    assert claim(first, "a")
    assert claim(second, "b")
    _take_away(tmp_path)
    with pytest.raises(OverloadedError):
        claim(second, "a", refuses=True)
    moment[0] += 1
    second.tidy()
    with pytest.raises(OverloadedError):
        claim(second, "a", refuses=True)
    first.tidy()
    moment[0] += 1
    second.tidy()
    assert not claim(second, "a", refuses=True)
    assert claim(second, "c", refuses=True)


def test_opening_early_makes_the_file_and_hides_no_fault(tmp_path: Path) -> None:
    """A store opened at the start is ready; one that cannot be opened says so when it is used."""
    store = ReplayStore(tmp_path)
    store.open()
    assert (tmp_path / STORE).is_file()
    assert claim(store)
    (tmp_path / "state").write_text("not a folder")
    broken = ReplayStore(tmp_path / "state")
    broken.open()
    with pytest.raises(OverloadedError):
        claim(broken, refuses=True)
