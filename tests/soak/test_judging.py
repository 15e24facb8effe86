"""The soak sees what it looks for: each broken promise, one at a time."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.soak.judging import (
    broken_bounds,
    broken_promises,
    gateway_sessions,
    pending_commands,
    percentile,
)
from tests.soak.told import Offer, Told
from tests.soak.watching import Sample, defects, growth
from tests.soak.world import DEADLINE_S


def write_gateway(
    folder: Path, sessions: Sequence[tuple[str, str, str]], commands: int = 0, unkept: int = 0
) -> Path:
    """The tables that are looked at, with sessions as UUID, offer set and phase, all at alpha."""
    database = folder / "gateway.db"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE sessions (uuid, offerset, phase, node)")
    connection.execute("CREATE TABLE commands (id)")
    connection.execute("CREATE TABLE unkept_holds (id)")
    connection.executemany("INSERT INTO sessions VALUES (?, ?, ?, 'alpha')", sessions)
    connection.executemany("INSERT INTO commands VALUES (?)", [(n,) for n in range(commands)])
    connection.executemany("INSERT INTO unkept_holds VALUES (?)", [(n,) for n in range(unkept)])
    connection.commit()
    connection.close()
    return database


def write_node(
    folder: Path, sessions: Sequence[tuple[str, str]], events: Sequence[tuple[str, str]]
) -> list[Path]:
    """A node with sessions and events, both as UUID and phase."""
    node = folder / "alpha"
    node.mkdir()
    connection = sqlite3.connect(node / "node.db")
    connection.execute("CREATE TABLE sessions (uuid, offerset, phase)")
    connection.execute("CREATE TABLE events (session, phase)")
    connection.executemany("INSERT INTO sessions VALUES (?, 'n', ?)", sessions)
    connection.executemany("INSERT INTO events VALUES (?, ?)", events)
    connection.commit()
    connection.close()
    return [node]


def judged(database: Path, nodes: Sequence[Path], told: Told) -> list[str]:
    known, pending = gateway_sessions(database), pending_commands(database)
    return list(broken_promises(known, pending, nodes, told))


def accepted(*sessions: str) -> Told:
    told = Told()
    for session in sessions:
        told.note_phase(Offer(session, "alpha", f"set of {session}"), "ACCEPTED")
    return told


def test_a_session_that_ran_once_and_ended_alike_everywhere_breaks_nothing(tmp_path: Path) -> None:
    database = write_gateway(tmp_path, [("a", "s", "COMPLETED"), ("b", "s", "REJECTED")])
    nodes = write_node(tmp_path, [("a", "COMPLETED"), ("b", "REJECTED")], [("a", "RUNNING")])
    assert judged(database, nodes, accepted("a")) == []


@pytest.mark.parametrize(
    ("here", "there", "ran", "expected"),
    [
        ([], [("a", "COMPLETED")], ["a"], "knows nothing"),
        ([("a", "s", "EXPIRED")], [("a", "EXPIRED")], [], "never took it up"),
        ([("a", "s", "RUNNING")], [("a", "RUNNING")], ["a"], "not come to its end"),
        ([("a", "s", "COMPLETED")], [("a", "FAILED")], ["a"], "in phase FAILED"),
        ([("a", "s", "COMPLETED")], [], ["a"], "has forgotten it"),
        ([("a", "s", "COMPLETED")], [("a", "WAITING")], ["a"], "still in phase WAITING"),
        (
            [("a", "s", "COMPLETED"), ("b", "s", "REJECTED")],
            [("a", "COMPLETED"), ("b", "COMPLETED")],
            ["a", "b"],
            "executed 2 times",
        ),
        (
            [("a", "s", "COMPLETED"), ("b", "s", "COMPLETED")],
            [("a", "COMPLETED"), ("b", "COMPLETED")],
            ["a", "b"],
            "2 accepted sessions",
        ),
    ],
)
def test_a_broken_promise_is_seen(
    tmp_path: Path,
    here: list[tuple[str, str, str]],
    there: list[tuple[str, str]],
    ran: list[str],
    expected: str,
) -> None:
    database = write_gateway(tmp_path, here)
    nodes = write_node(tmp_path, there, [(uuid, "RUNNING") for uuid in ran])
    broken = judged(database, nodes, accepted("a"))
    assert any(expected in text for text in broken), broken


def test_a_pending_command_is_seen(tmp_path: Path) -> None:
    database = write_gateway(tmp_path, [], commands=2, unkept=1)
    nodes = write_node(tmp_path, [], [])
    assert judged(database, nodes, Told()) == ["3 commands are still pending"]


def test_lateness_growth_and_defects_are_seen(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"event": "broken", "level": "error", "why": "x"}\n')
    told = Told(ask_s=[DEADLINE_S] * 90 + [DEADLINE_S + 5] * 10)
    leaking = [Sample(t, 1, 100.0 + t, 10 + t) for t in range(60)]
    late, memory, files, logged = broken_bounds(log, told, leaking)
    assert "one answer in a hundred" in late
    assert "memory grew by 59.0 MiB" in memory
    assert "open files grew by 59.0" in files
    assert logged == "logged 1 times: broken x"


def test_what_is_steady_in_time_and_without_defects_is_well(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('{"event": "fine", "level": "warning"}\n')
    steady = [Sample(t, 1, 100.0 + t % 3, 10 + t % 2) for t in range(60)]
    assert list(broken_bounds(log, Told(ask_s=[DEADLINE_S] * 100), steady)) == []


def test_two_accepted_sessions_of_one_set_are_seen_at_once() -> None:
    told = Told()
    for session in ("a", "a", "b"):
        told.note_phase(Offer(session, "alpha", "set"), "RUNNING")
    told.note_phase(Offer("c", "alpha", "other"), "REJECTED")
    assert told.accepted.keys() == {"a", "b"}
    (fault,) = told.broken
    assert "both a and b" in fault


def test_growth_is_that_of_the_line_through_all_points() -> None:
    assert growth([(t, 5.0 + 2.0 * t) for t in range(10)]) == pytest.approx(18.0)
    assert growth([(t, 5.0 + t % 2) for t in range(100)]) == pytest.approx(0.0, abs=0.1)
    assert growth([]) == growth([(1.0, 2.0)]) == 0.0


def test_defects_are_found_in_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        '{"event": "fine", "level": "warning"}\n'
        '{"event": "broken", "level": "error", "why": "x"}\n'
        '{"event": "command_given_up", "level": "error", "node": "odd"}\n'
        "Traceback (most recent call last):\n"
    )
    assert "command_given_up" in defects(log)
    assert set(defects(log, ["odd"])) == {
        "broken x",
        "no event: Traceback (most recent call last):",
    }


def test_a_percentile_is_a_value_that_so_many_do_not_exceed() -> None:
    assert percentile([], 0.99) == 0.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(list(map(float, range(100))), 0.99) == 99.0
