"""The ``execbroker`` program, as a process of its own, against the real services."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp.test_utils import unused_port

from gateway.wire.times import format_instant
from tests.support.brokers import BROKERS, Broker

PROGRAM: Final = Path(sys.executable).with_name("execbroker")
REQUEST: Final = Path(__file__).parents[2] / "config" / "request-minimal.yaml"
DEADLINE_S: Final = 30
OK: Final = 0
REFUSED: Final = 1
UNAVAILABLE: Final = 3


@dataclass(frozen=True)
class Execbroker:
    """The program with its environment."""

    environ: dict[str, str]

    async def start(self, *argv: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(PROGRAM),
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environ,
            # A test run that was started in the background ignores interrupts, and so would this.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    async def __call__(self, *argv: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        process = await self.start(*argv)
        try:
            async with asyncio.timeout(DEADLINE_S):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def json(self, *argv: str) -> Any:
        """The document that a command prints, which must succeed and remark nothing."""
        code, out, err = await self(*argv, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)


@pytest.fixture(params=["gateway", "node"])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    """The real ones, in turn."""
    async with BROKERS[request.param]() as running:
        yield running


@pytest.fixture
def execbroker(broker: Broker) -> Execbroker:
    account = {"EXECBROKER_USERNAME": broker.username, "EXECBROKER_PASSWORD": broker.password}
    return Execbroker({**os.environ, **account, "EXECBROKER_URL": broker.url, "NO_COLOR": "1"})


async def test_a_request_is_submitted_accepted_and_watched_to_its_end(
    execbroker: Execbroker,
) -> None:
    offerset = await execbroker.json("submit", str(REQUEST))
    assert offerset["result"] == "YES"
    uuid = offerset["offers"][0]["meta"]["uuid"]
    assert (await execbroker.json("accept", uuid))["meta"]["uuid"] == uuid
    code, out, err = await execbroker("watch", uuid, "--timeout", "20")
    assert (code, err) == (0, "")
    assert out.rstrip().endswith("COMPLETED")
    assert (await execbroker.json("show", uuid))["phase"] == "COMPLETED"


async def test_submit_prints_a_table_with_what_to_accept(execbroker: Execbroker) -> None:
    code, out, err = await execbroker("submit", str(REQUEST))
    assert (code, err) == (0, "")
    assert "Offers, best first" in out


async def test_submit_explains_who_passes_what_where_a_gateway_is_asked(
    execbroker: Execbroker, broker: Broker
) -> None:
    code, out, err = await execbroker("submit", str(REQUEST), "--explain")
    assert code == OK
    assert ("Who passes what" in out) == (err == "")
    assert ("a node broker, not a gateway" in err) == (err != "")


@pytest.mark.parametrize("broker", ["gateway"], indirect=True)
async def test_an_offer_set_is_explained_and_ranked_by_another_policy(
    execbroker: Execbroker,
) -> None:
    uuid = (await execbroker.json("submit", str(REQUEST)))["meta"]["uuid"]
    explanation = await execbroker.json("explain", uuid)
    assert explanation["policy"]["name"] == "balanced"
    replayed = await execbroker.json("replay", uuid, "--policy", "cheapest", "--limit", "1")
    assert [one["rank"] for one in replayed["candidates"]].count(1) == 1
    for command, text in (("explain", "What each score is made of"), ("replay", "Ranked as")):
        code, out, err = await execbroker(command, uuid)
        assert (code, err) == (OK, "")
        assert text in out


async def test_the_best_offer_is_taken_at_once_and_cancelled(
    execbroker: Execbroker, tmp_path: Path
) -> None:
    start = format_instant(datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1))
    later = tmp_path / "later.yaml"  # waits long enough to be cancelled
    schedule = f"schedule: {{requested: {{start: {start}/PT1H}}}}\n"
    later.write_text(REQUEST.read_text() + schedule)
    session = (await execbroker.json("submit", str(later), "--accept-best"))["session"]
    uuid = session["meta"]["uuid"]
    await execbroker.json("cancel", uuid)
    code, out, _ = await execbroker("watch", uuid, "--timeout", "20")
    assert code == REFUSED
    assert out.rstrip().endswith("CANCELLED")


async def test_an_offer_that_was_rejected_cannot_be_accepted(execbroker: Execbroker) -> None:
    offerset = await execbroker.json("submit", str(REQUEST))
    uuid = offerset["offers"][0]["meta"]["uuid"]
    assert (await execbroker.json("reject", uuid))["phase"] == "REJECTED"
    code, out, err = await execbroker("accept", uuid)
    assert (code, out) == (REFUSED, "")
    assert "execbroker:" in err
    assert "REJECTED" in err


async def test_a_wrong_password_is_refused(execbroker: Execbroker) -> None:
    execbroker.environ["EXECBROKER_PASSWORD"] = "wrong"
    code, out, err = await execbroker("submit", str(REQUEST))
    assert (code, out) == (REFUSED, "")
    assert "Traceback" not in err


async def test_an_interrupt_stops_watching_quietly(execbroker: Execbroker) -> None:
    offerset = await execbroker.json("submit", str(REQUEST))
    process = await execbroker.start("watch", offerset["offers"][0]["meta"]["uuid"])
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        assert b"OFFERED" in await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert err == b""


async def test_a_server_that_is_away_is_a_clear_error() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    execbroker = Execbroker({**os.environ, "EXECBROKER_URL": url})
    code, out, err = await execbroker("submit", str(REQUEST))
    assert (code, out) == (UNAVAILABLE, "")
    assert url in err
    assert "Check that it runs" in err
    assert "Traceback" not in err
