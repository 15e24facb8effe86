"""``execbroker explain``, ``replay`` and ``submit --explain``, against a canned gateway."""

import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from gateway.cli.arguments import parser
from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.errors import BrokerProblemError
from gateway.cli.output import OK, REFUSED
from gateway.cli.running import run
from tests.support.canned_broker import PASSWORD, USERNAME, CannedBroker
from tests.unit.cli.explanations import OFFERSET, ExplainingBroker, explanation, ranking

Execbroker = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def broker() -> CannedBroker:
    return ExplainingBroker()


@pytest.fixture
def execbroker(url: str) -> Execbroker:
    """Exit code, standard output, standard error."""

    async def execute(*argv: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        environ = {"EXECBROKER_USERNAME": USERNAME, "EXECBROKER_PASSWORD": PASSWORD}
        code = await run(parser().parse_args([*argv, "--url", url]), out, err, environ)
        return code, out.getvalue(), err.getvalue()

    return execute


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    path = tmp_path / "request.yaml"
    path.write_text("executable: {kind: some-kind}\n")
    return str(path)


async def test_explain_shows_the_clauses_and_who_was_silent(execbroker: Execbroker) -> None:
    code, out, err = await execbroker("explain", str(OFFERSET))
    assert (code, err) == (OK, "")
    for text in ("Who passes what", "What the policy balanced counts", "za", "timeout"):
        assert text in out
    code, out, _ = await execbroker("explain", str(OFFERSET), "--json")
    assert json.loads(out) == explanation()


async def test_replay_shows_how_the_order_would_change(
    execbroker: Execbroker, broker: CannedBroker
) -> None:
    argv = ("replay", str(OFFERSET), "--policy", "greenest", "--limit", "5", "--per-node", "1")
    code, out, err = await execbroker(*argv)
    assert (code, err) == (OK, "")
    assert "greenest instead of balanced: the order changes" in out
    assert broker.seen[0].body == {"policy": "greenest", "limit": 5, "per_node": 1}
    code, out, _ = await execbroker(*argv, "--json")
    assert json.loads(out) == ranking("greenest")


async def test_a_policy_that_does_not_exist_is_refused(execbroker: Execbroker) -> None:
    code, out, err = await execbroker("replay", str(OFFERSET), "--policy", "none")
    assert (code, out) == (REFUSED, "")
    assert "there is no policy none" in err


async def test_submit_explains_after_the_offers(execbroker: Execbroker, request_file: str) -> None:
    code, out, err = await execbroker("submit", request_file, "--explain", "--accept-best")
    assert (code, err) == (OK, "")
    places = [out.index(text) for text in ("Offers, best", "Who passes what", "ACCEPTED")]
    assert places == sorted(places)
    argv = ("submit", request_file, "--explain", "--json")
    document = json.loads((await execbroker(*argv))[1])
    assert document["offerset"]["result"] == "YES"
    assert document["explanation"] == explanation()
    assert "session" not in document


@pytest.mark.parametrize("broker", [CannedBroker(federated=False)], ids=["node"])
async def test_a_node_broker_explains_nothing_and_says_so(
    execbroker: Execbroker, request_file: str
) -> None:
    code, out, err = await execbroker("submit", request_file, "--explain")
    assert code == OK
    assert "Offers, best first" in out
    assert "a node broker, not a gateway" in err


async def test_the_client_asks_only_what_is_given(
    client: ExecutionBrokerClient, broker: CannedBroker
) -> None:
    uuid = UUID(str(OFFERSET))
    assert await client.explanation(uuid) == explanation()
    assert (await client.replay(uuid))["is_same"]
    await client.replay(uuid, weights={"carbon": 2}, references={"carbon": 5}, priors={})
    bodies = [seen.body for seen in broker.seen]
    assert bodies == [
        None,
        {},
        {"weights": {"carbon": 2}, "references": {"carbon": 5}, "priors": {}},
    ]
    with pytest.raises(BrokerProblemError, match="no policy none"):
        await client.replay(uuid, policy="none")
