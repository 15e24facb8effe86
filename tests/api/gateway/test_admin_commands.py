"""``execbroker admin``: tokens and nodes, against a real gateway."""

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.cli.arguments import parser
from gateway.cli.output import OK, REFUSED
from gateway.cli.running import run
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.members import LOCAL, Member, bearing, running_member
from tests.support.node import ADMIN, ALICE, Account

Execbroker = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    async with running_gateway({}, tmp_path, registration=LOCAL) as running:
        yield running


@pytest.fixture
async def member() -> AsyncIterator[Member]:
    async with running_member() as running:
        yield running


@pytest.fixture
def execbroker(gateway: GatewayUnderTest) -> Execbroker:
    """Exit code, standard output, standard error."""

    async def execute(*argv: str, account: Account = ADMIN) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        environ = {"EXECBROKER_USERNAME": account.login, "EXECBROKER_PASSWORD": account.password}
        code = await run(parser().parse_args([*argv, "--url", gateway.url]), out, err, environ)
        return code, out.getvalue(), err.getvalue()

    return execute


async def test_a_node_comes_in_with_a_token_is_drained_and_taken_out(
    execbroker: Execbroker, gateway: GatewayUnderTest, member: Member
) -> None:
    code, out, err = await execbroker("admin", "token", "--name", "alpha", "--expires", "1h")
    assert (code, out.count("\n")) == (OK, 1), err
    assert "node alpha" in err
    token = out.strip()
    answer = await bearing(gateway, token, "POST", "/nodes", member.registration())
    assert answer.status == 201, answer.text

    code, out, _ = await execbroker("admin", "nodes")
    assert (code, "alpha" in out, "everybody" in out) == (OK, True, True)
    code, _, err = await execbroker("admin", "drain", "alpha")
    assert (code, err) == (OK, "Node alpha is draining.\n")
    code, _, err = await execbroker("admin", "resume", "alpha")
    assert (code, err) == (OK, "Node alpha is up.\n")
    code, _, err = await execbroker("admin", "remove", "alpha", "--forget")
    assert (code, err) == (OK, "Node alpha is out.\n")
    code, out, _ = await execbroker("admin", "nodes", "--json")
    (node,) = json.loads(out)["nodes"]
    assert (code, node["state"]) == (OK, "down")


async def test_who_is_no_administrator_is_refused(execbroker: Execbroker) -> None:
    for argv in (("token",), ("drain", "alpha"), ("remove", "alpha")):
        code, out, err = await execbroker("admin", *argv, account=ALICE)
        assert (code, out) == (REFUSED, ""), err


@pytest.mark.parametrize("words", ["0", "1w", "h", "1.5h", ""])
def test_a_period_that_is_none_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["admin", "token", "--expires", words])
    assert "no period" in capsys.readouterr().err
