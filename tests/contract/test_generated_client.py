"""The public Python client, generated from the public API definition, against every broker.

Nothing of the client is committed: it is generated at test time, and used unchanged.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.wire.kinds import DOCKER_CONTAINER, SIMPLE_COMPUTE
from gateway.wire.times import format_instant
from tests.support.brokers import BROKERS, Broker

ROOT: Final = Path(__file__).parents[2]
DEFINITION: Final = ROOT.parent / "shared" / "contract" / "execution-broker-v1.0.yaml"
DRIVER: Final = Path(__file__).with_name("client_driver.py")
GENERATOR: Final = Path(sys.executable).with_name("openapi-generator-cli")
GENERATE_DEADLINE_S: Final = 120
DRIVE_DEADLINE_S: Final = 60
RUN_DEADLINE_S: Final = 20

Json = dict[str, Any]

# One worker generates the client, and uses it.
pytestmark = [pytest.mark.shared, pytest.mark.xdist_group("generated-client")]

REQUEST: Final[Json] = {
    "executable": {
        "kind": DOCKER_CONTAINER,
        "meta": {"name": "example"},
        "image": {
            "locations": ["registry.example.org/demo/heliophorus:1.0"],
            "digest": "sha256:6e495692cc6f1cae2023f261f433d4691aa70b19416730f8301e45fbb74bc526",
        },
    },
    "compute": {
        "kind": SIMPLE_COMPUTE,
        "meta": {"name": "cpu"},
        "cores": {"min": 1, "max": 2},
        "memory": {"min": 1, "max": 2},
    },
    "schedule": {"requested": {"duration": "PT10M"}},
}


Drive = Callable[..., Awaitable[Json]]


@pytest.fixture(scope="session")
def generated_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that holds the generated package."""
    if not DEFINITION.exists():
        pytest.skip(f"not run: the public API definition is not at {DEFINITION}")
    target = tmp_path_factory.mktemp("generated_client")
    arguments = ["generate", "-i", str(DEFINITION), "-g", "python", "-o", str(target)]
    done = subprocess.run(
        [str(GENERATOR), *arguments],
        capture_output=True,
        text=True,
        timeout=GENERATE_DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return target


@pytest.fixture(params=sorted(BROKERS))
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    """Each broker in turn."""
    async with BROKERS[request.param]() as running:
        yield running


@pytest.fixture
def drive(generated_client: Path, broker: Broker) -> Drive:
    """Runs one scenario with the generated client in its own process."""

    async def run(scenario: str, request: Json | None = None, **changes: str | None) -> Json:
        job = {
            "scenario": scenario,
            "base_url": broker.url,
            "username": broker.username,
            "password": broker.password,
            "request": REQUEST if request is None else request,
            "deadline_s": RUN_DEADLINE_S,
            **changes,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(DRIVER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(generated_client), "NO_PROXY": "*"},
        )
        try:
            async with asyncio.timeout(DRIVE_DEADLINE_S):
                out, err = await process.communicate(json.dumps(job).encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, err.decode()[-4000:]
        outcome: Json = json.loads(out)
        return outcome

    return run


async def test_the_public_client_submits_selects_accepts_and_polls_to_the_end(drive: Drive) -> None:
    outcome = await drive("lifecycle")
    offerset = outcome["offerset"]["document"]
    assert outcome["offerset"]["class"] == "OfferSetResponse"
    assert offerset["result"] == "YES"
    assert offerset["offers"]
    assert outcome["again"]["document"]["meta"]["uuid"] == offerset["meta"]["uuid"]
    assert outcome["before"]["class"] == "ScheduledExecutionSession"
    assert outcome["before"]["document"]["phase"] == "OFFERED"
    assert outcome["accepted"]["document"]["phase"] != "OFFERED"
    assert outcome["phases"][-1] == "COMPLETED"
    assert outcome["after"]["document"]["meta"]["uuid"] == offerset["offers"][0]["meta"]["uuid"]
    assert all(phases[-1] == "REJECTED" for phases in outcome["siblings"].values())


async def test_the_public_client_sees_what_it_may_do_next(drive: Drive) -> None:
    outcome = await drive("submit")
    (option,) = outcome["answer"]["document"]["offers"][0]["meta"]["options"]
    assert option["kind"] == "uri:enum-value-option"
    assert option["path"] == "phase"
    assert set(option["values"]) == {"ACCEPTED", "REJECTED"}


async def test_the_public_client_runs_a_request_directly_and_cancels_it(drive: Drive) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    later = {"requested": {"start": f"{format_instant(start)}/PT1H", "duration": "PT10M"}}
    outcome = await drive("direct", REQUEST | {"schedule": later})
    assert outcome["error"] is None, outcome
    assert outcome["answer"]["class"] == "ScheduledExecutionSession"
    assert outcome["answer"]["document"]["phase"] not in {"OFFERED", "FAILED"}
    assert outcome["phases"][-1] == "CANCELLED"


async def test_a_refused_direct_request_reaches_the_public_client_as_a_failed_session(
    drive: Drive,
) -> None:
    without_executable = {key: REQUEST[key] for key in REQUEST if key != "executable"}
    outcome = await drive("direct", without_executable)
    assert outcome["error"] == "BadRequestException"
    assert outcome["data"]["class"] == "ScheduledExecutionSession"
    assert outcome["data"]["document"]["phase"] == "FAILED"
    assert outcome["data"]["document"]["meta"]["messages"]


async def test_what_does_not_exist_is_not_found_for_the_public_client(drive: Drive) -> None:
    outcome = await drive("unknown")
    assert {name: seen["error"] for name, seen in outcome.items()} == dict.fromkeys(
        ("offerset", "session", "update"), "NotFoundException"
    )


@pytest.mark.parametrize("scenario", ["submit", "unknown"])
async def test_a_wrong_password_is_unauthorized_for_the_public_client(
    drive: Drive, scenario: str
) -> None:
    outcome = await drive(scenario, password="wrong")
    seen = [outcome] if scenario == "submit" else list(outcome.values())
    assert {one["error"] for one in seen} == {"UnauthorizedException"}


async def test_the_public_client_cannot_submit_without_an_account(drive: Drive) -> None:
    outcome = await drive("submit", username=None)
    assert outcome["error"] == "UnauthorizedException"
