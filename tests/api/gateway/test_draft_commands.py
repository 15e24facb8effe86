"""``execbroker draft`` and ``execbroker list``, in front of a real gateway and node."""

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gateway.cli.arguments import parser
from gateway.cli.output import OK, REFUSED
from gateway.cli.running import run
from gateway.wire import kinds
from gateway.wire.documents import Document
from tests.api.gateway.conftest import running_federation
from tests.support.gateway import GatewayUnderTest
from tests.support.node import ALICE
from tests.support.requests import minimal_request

TEMPLATE: Final[Document] = minimal_request(
    data=[
        {
            "kind": f"{kinds.KIND_BASE}/data/abstract-data-resource.yaml",
            "meta": {"name": "input", "description": "The cube to look at."},
        }
    ],
    schedule={"requested": {"duration": "PT1S"}},
)

Execbroker = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    """A gateway over one node."""
    async with running_federation(tmp_path, ("alpha",)) as running:
        running.gateway.account = ALICE
        yield running.gateway


@pytest.fixture
def execbroker(gateway: GatewayUnderTest) -> Execbroker:
    """Exit code, standard output, standard error."""

    async def execute(*argv: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        environ = {"EXECBROKER_USERNAME": ALICE.login, "EXECBROKER_PASSWORD": ALICE.password}
        arguments = parser().parse_args([*argv, "--url", gateway.url])
        return await run(arguments, out, err, environ), out.getvalue(), err.getvalue()

    return execute


@pytest.fixture
async def template(gateway: GatewayUnderTest) -> str:
    """A published template."""
    answer = await gateway.call("POST", "/discovery/software", TEMPLATE)
    assert answer.status == 201, answer.text
    return answer.headers["Location"].rpartition("/")[2]


async def read(execbroker: Execbroker, *argv: str) -> Any:
    """The document that a command prints."""
    code, out, err = await execbroker(*argv, "--json")
    assert (code, err) == (OK, ""), err
    return json.loads(out)


async def test_a_template_becomes_a_result_step_by_step(
    execbroker: Execbroker, template: str
) -> None:
    draft = await read(execbroker, "draft", "new", "--template", template, "--name", "my cube")
    uuid = draft["meta"]["uuid"]
    code, out, _ = await execbroker("draft", "show", uuid)
    assert code == OK
    assert "To be supplied at data[0]: input: The cube to look at." in out
    assert f"execbroker draft resolve {uuid} 'data[0]'" in out
    code, _, err = await execbroker("draft", "submit", uuid)
    assert code == REFUSED
    assert "/data/0: Still open: input: The cube to look at." in err

    location = "https://data.example.org/cube"
    assert (await execbroker("draft", "resolve", uuid, "data[0]", "--location", location))[0] == OK
    changed = await read(execbroker, "draft", "set", uuid, "compute.cores.min", "2")
    assert changed["request"]["compute"]["cores"]["min"] == 2
    assert changed["request"]["data"][0]["meta"]["name"] == "input"

    code, out, err = await execbroker("draft", "submit", uuid, "--limit", "1", "--follow")
    assert code == OK, (out, err)
    assert "COMPLETED" in out
    (session,) = (await read(execbroker, "list", "sessions"))["sessions"]
    assert (session["phase"], session["node"]) == ("COMPLETED", "alpha")
    results = await read(execbroker, "results", session["uuid"])
    assert results["phase"] == "COMPLETED"
    (offerset,) = (await read(execbroker, "list", "offersets"))["offersets"]
    assert offerset["accepted"] == session["uuid"]
    _, out, _ = await execbroker("draft", "show", uuid)
    assert f"Asked as revision 3: offer set {offerset['uuid']}" in out


@pytest.mark.parametrize(
    ("source", "member"),
    [
        (("--rucio-did", "testing:cube"), "rucio"),
        (("--ivoid", "ivo://skao.int/data?testing:cube"), "ivoa"),
    ],
)
async def test_data_are_begun_from_and_supplied_by_their_identifiers(
    execbroker: Execbroker, template: str, source: tuple[str, str], member: str
) -> None:
    draft = await read(execbroker, "draft", "new", *source)
    assert member in draft["request"]["data"][0]
    draft = await read(execbroker, "draft", "new", "--template", f"{template}@1")
    uuid = draft["meta"]["uuid"]
    resolved = await read(execbroker, "draft", "resolve", uuid, "data[0]", *source)
    assert member in resolved["request"]["data"][0]
    assert "options" not in resolved["meta"]


async def test_drafts_are_patched_listed_and_deleted(
    execbroker: Execbroker, tmp_path: Path
) -> None:
    file = tmp_path / "request.yaml"
    file.write_text(yaml.safe_dump(minimal_request()))
    draft = await read(execbroker, "draft", "new", "--request", str(file), "--name", "patched")
    uuid = draft["meta"]["uuid"]
    file.write_text("schedule: null\nexecutable: {meta: {name: renamed}}\n")
    changed = await read(execbroker, "draft", "patch", uuid, str(file))
    assert "schedule" not in changed["request"]
    digits = await read(execbroker, "draft", "set", uuid, "executable.meta.name", "17", "--text")
    assert digits["request"]["executable"]["meta"]["name"] == "17"
    code, out, _ = await execbroker("draft", "list", "--name", "PATCH")
    assert code == OK
    assert uuid in out
    assert (await execbroker("draft", "rm", uuid))[0] == OK
    assert (await read(execbroker, "draft", "list"))["drafts"] == []
    assert (await execbroker("draft", "show", uuid))[0] == REFUSED


async def test_a_list_is_read_on_over_its_pages_as_far_as_it_is_wanted(
    execbroker: Execbroker, gateway: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.list_commands.PAGE", 1)
    for _ in range(3):
        await gateway.ask(minimal_request(), "?limit=1")
    assert len((await read(execbroker, "list", "offersets"))["offersets"]) == 3
    code, out, err = await execbroker("list", "offersets", "--limit", "2")
    assert code == OK
    assert out.count("1 OFFERED") == 2
    assert "more than 2" in err
