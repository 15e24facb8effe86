"""The commands about what came out, against a real gateway over a real node."""

import hashlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gateway.cli.arguments import parser
from gateway.cli.errors import UnknownFileError
from gateway.cli.output import OK, REFUSED, Output
from gateway.cli.output_commands import chosen_files
from gateway.cli.running import run
from gateway.cli.summary import FileSummary
from tests.support.gateway import running_gateway
from tests.support.node import ALICE, NodeClient, node_settings, running_node
from tests.support.outputs import LASTING, archived, running
from tests.support.requests import minimal_request

DATA: Final = bytes(range(256)) * 2000
SHA256: Final = hashlib.sha256(DATA).hexdigest()


class Ran:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Execbroker = Callable[..., Awaitable[Ran]]


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A gateway over one node."""
    settings = node_settings(platform=LASTING)
    async with (
        running_node(tmp_path, settings) as node,
        running_gateway({"alpha": node.url}, tmp_path / "gateway") as gateway,
    ):
        yield gateway.url


@pytest.fixture
def execbroker(url: str) -> Execbroker:
    async def execute(*argv: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        environ = {
            "EXECBROKER_URL": url,
            "EXECBROKER_USERNAME": ALICE.login,
            "EXECBROKER_PASSWORD": ALICE.password,
        }
        code = await run(parser().parse_args(argv), out, err, environ)
        return Ran(code, out.getvalue(), err.getvalue())

    return execute


@pytest.fixture
async def session(url: str, tmp_path: Path) -> str:
    """A session that has left two files and a log."""
    async with NodeClient(url) as client:
        uuid = await running(client)
    home = tmp_path / "home"
    (home / "plots").mkdir(parents=True)
    (home / "plots" / "a b.bin").write_bytes(DATA)
    (home / "notes.txt").write_text("hello")
    await archived(tmp_path, uuid, home, log="größer\n".encode(), notes=("all is well",))
    return uuid


def request_file(tmp_path: Path, **environment: str) -> str:
    request = minimal_request()
    request["executable"]["environment"] = environment
    path = tmp_path / "request.yaml"
    path.write_text(yaml.safe_dump(request))
    return str(path)


async def test_logs_are_shown_so_far_and_to_the_end(execbroker: Execbroker, session: str) -> None:
    for more in ((), ("--follow",)):
        ran = await execbroker("logs", session, *more)
        assert (ran.code, ran.out) == (OK, "größer\n")
    ran = await execbroker("logs", session, "--json", "-f")
    assert json.loads(ran.out) == {"text": "größer\n"}
    ran = await execbroker("logs", session, "--stderr")
    assert ran.code == REFUSED
    assert "stderr" not in ran.out


async def test_results_are_listed(execbroker: Execbroker, session: str) -> None:
    ran = await execbroker("results", session)
    assert ran.code == OK
    for text in (
        "exit code 0",
        "plots/a b.bin",
        "512.0 kB",
        SHA256[:16],
        "all is well",
        "cpu_s 1",
    ):
        assert text in ran.out
    document: Any = json.loads((await execbroker("results", session, "--json")).out)
    assert {file["path"]: file["size"] for file in document["files"]} == {
        "notes.txt": 5,
        "plots/a b.bin": len(DATA),
    }


async def test_files_are_saved_once(execbroker: Execbroker, session: str, tmp_path: Path) -> None:
    to = tmp_path / "saved"
    ran = await execbroker("fetch", session, "--output", str(to))
    assert ran.code == OK
    assert (to / "plots" / "a b.bin").read_bytes() == DATA
    assert (to / "notes.txt").read_text() == "hello"
    (to / "notes.txt").write_text("changed")
    ran = await execbroker("fetch", session, "-o", str(to), "--json")
    assert {f["path"]: f["is_new"] for f in json.loads(ran.out)["files"]} == {
        "notes.txt": True,
        "plots/a b.bin": False,
    }
    assert (to / "notes.txt").read_text() == "hello"


async def test_single_files_and_directories_can_be_chosen(
    execbroker: Execbroker, session: str, tmp_path: Path
) -> None:
    to = tmp_path / "saved"
    assert (await execbroker("fetch", session, "plots/", "-o", str(to))).code == OK
    assert [path.name for path in to.rglob("*") if path.is_file()] == ["a b.bin"]
    ran = await execbroker("fetch", session, "nothing", "-o", str(to))
    assert ran.code == REFUSED
    assert "nothing" in ran.err


async def test_what_cannot_be_saved_is_said(
    execbroker: Execbroker, session: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ran = await execbroker("fetch", session, "-o", str(tmp_path / "file"))
    assert ran.code == REFUSED
    assert "cannot be saved" in ran.err
    to = tmp_path / "saved"
    to.mkdir()
    (to / "plots").symlink_to(tmp_path)
    ran = await execbroker("fetch", session, "plots", "-o", str(to))
    assert ran.code == REFUSED
    assert "does not stay within" in ran.err


@pytest.mark.parametrize(("exit_code", "code"), [("0", OK), ("3", REFUSED)])
async def test_a_request_is_followed_from_offer_to_end(
    execbroker: Execbroker, tmp_path: Path, exit_code: str, code: int
) -> None:
    request = request_file(
        tmp_path,
        SIMULATE_RUN_S="0.1",
        SIMULATE_LOG_BYTES="64",
        SIMULATE_EXIT_CODE=exit_code,
    )
    ran = await execbroker("submit", request, "--follow")
    assert ran.code == code
    assert "simulated output, line        1\n" in ran.out
    assert f"exit code {exit_code}" in ran.out


async def test_a_session_that_runs_has_nothing_to_fetch_yet(
    execbroker: Execbroker, url: str, tmp_path: Path
) -> None:
    async with NodeClient(url) as client:
        uuid = await running(client)
    ran = await execbroker("results", uuid)
    assert (ran.code, "nothing has come out yet" in ran.out) == (OK, True)
    ran = await execbroker("fetch", uuid, "-o", str(tmp_path / "saved"))
    assert (ran.code, "none yet" in ran.err) == (OK, True)


def test_a_path_chooses_files_and_what_is_below_it_once() -> None:
    files = [FileSummary(path, 1, "") for path in ("a", "a b/c", "ab/c", "ab/d")]
    assert [file.path for file in chosen_files(files, ["ab", "ab/c"])] == ["ab/c", "ab/d"]
    assert chosen_files(files, []) == files
    with pytest.raises(UnknownFileError):
        chosen_files(files, ["b"])


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_log_cannot_steer_a_terminal_but_colour_it() -> None:
    out = Terminal()
    Output(out, io.StringIO(), is_json=False).log("\x1b[31mred\x1b[0m\x1b[2J\x07\ttab\r\n\x9b1m")
    assert out.getvalue() == "\x1b[31mred\x1b[0m?[2J?\ttab\r\n?1m"
