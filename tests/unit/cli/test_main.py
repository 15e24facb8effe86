"""The ``execbroker`` command, run in this process against a canned broker."""

import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import unused_port

from gateway.cli.arguments import parser
from gateway.cli.output import OK, REFUSED, UNAVAILABLE, USAGE
from gateway.cli.overload import MOST_TRIES, PATIENCE_S
from gateway.cli.running import run
from tests.support.canned_broker import PASSWORD, USERNAME, CannedBroker

REQUEST = """\
executable:
  kind: https://www.purl.org/ivoa.net/Calycopis-openapi/schema/v1.0/kinds/executable/docker-container.yaml
schedule:
  requested: {start: 2031-01-01T00:00:00Z, duration: PT10M}
"""


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document."""
        return json.loads(self.out)


Execbroker = Callable[..., Awaitable[Ran]]


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    path = tmp_path / "request.yaml"
    path.write_text(REQUEST)
    return str(path)


@pytest.fixture
def execbroker(url: str) -> Execbroker:
    async def execute(*argv: str, **environ: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        account = {"EXECBROKER_USERNAME": USERNAME, "EXECBROKER_PASSWORD": PASSWORD}
        code = await run(
            parser().parse_args(argv), out, err, {"EXECBROKER_URL": url, **account, **environ}
        )
        return Ran(code, out.getvalue(), err.getvalue())

    return execute


async def offered(execbroker: Execbroker, request_file: str) -> list[str]:
    ran = await execbroker("submit", request_file, "--json")
    return [offer["meta"]["uuid"] for offer in ran.json["offers"]]


async def test_submit_prints_offers_and_coverage(execbroker: Execbroker, request_file: str) -> None:
    ran = await execbroker("submit", request_file)
    assert ran.code == OK
    assert ran.err == ""
    assert "Offers, best first" in ran.out
    assert "the connection was refused" in ran.out


async def test_submit_sends_the_file_with_its_dates_as_they_are_written(
    execbroker: Execbroker, request_file: str, broker: CannedBroker
) -> None:
    await execbroker(
        "submit", request_file, "--limit", "2", "--nodes", "alpha, beta", "--wait", "3"
    )
    (seen,) = broker.seen
    assert seen.body["schedule"]["requested"]["start"] == "2031-01-01T00:00:00Z"
    assert seen.query == {"limit": "2", "nodes": "alpha,beta"}
    assert seen.headers["Prefer"] == "wait=3"


async def test_submit_with_json_prints_the_offer_set_alone(
    execbroker: Execbroker, request_file: str
) -> None:
    ran = await execbroker("submit", request_file, "--json")
    assert ran.json["result"] == "YES"
    assert ran.json["federation"]["coverage"]


async def test_submit_can_accept_the_best_at_once(
    execbroker: Execbroker, request_file: str
) -> None:
    ran = await execbroker("submit", request_file, "--accept-best")
    assert ran.code == OK
    assert "at alpha: ACCEPTED" in ran.out
    ran = await execbroker("submit", request_file, "--accept-best", "--json")
    assert ran.json["session"]["phase"] == "ACCEPTED"
    assert ran.json["session"]["federation"]["rank"] == 1
    assert ran.json["offerset"]["result"] == "YES"


async def test_submit_that_can_accept_none_says_why_of_each_and_fails(
    execbroker: Execbroker, request_file: str, broker: CannedBroker
) -> None:
    broker.refuse_accept = True
    ran = await execbroker("submit", request_file, "--accept-best")
    assert ran.code == REFUSED
    assert ran.err.count("cannot be set to ACCEPTED") == 3


async def test_submit_that_gets_a_no_shows_the_reasons_and_fails(
    execbroker: Execbroker, request_file: str, broker: CannedBroker
) -> None:
    broker.result_no = True
    ran = await execbroker("submit", request_file)
    assert ran.code == REFUSED
    assert "asked for 5000 cores, the limit is 16" in ran.out
    assert (await execbroker("submit", request_file, "--json")).code == REFUSED


async def test_an_offer_is_accepted_watched_and_shown(
    execbroker: Execbroker, request_file: str
) -> None:
    uuid = (await offered(execbroker, request_file))[0]
    assert "OFFERED" in (await execbroker("show", uuid)).out
    assert "ACCEPTED" in (await execbroker("accept", uuid)).out


async def test_show_finds_offer_sets_too(execbroker: Execbroker, request_file: str) -> None:
    offerset = (await execbroker("submit", request_file, "--json")).json
    ran = await execbroker("show", offerset["meta"]["uuid"])
    assert "Offers, best first" in ran.out
    assert (await execbroker("show", offerset["meta"]["uuid"], "--json")).json == offerset


async def test_watch_fails_when_the_session_does_not_complete(
    execbroker: Execbroker, request_file: str
) -> None:
    uuid = (await offered(execbroker, request_file))[0]
    await execbroker("reject", uuid)
    ran = await execbroker("watch", uuid)
    assert ran.code == REFUSED
    assert "REJECTED" in ran.out


async def test_watch_with_json_prints_a_line_for_each_new_phase(
    execbroker: Execbroker, request_file: str, broker: CannedBroker
) -> None:
    uuid = (await offered(execbroker, request_file))[0]
    await execbroker("accept", uuid)
    for session in broker.sessions.values():
        if session["meta"]["uuid"] == uuid:
            session["phase"] = "RELEASING"
    ran = await execbroker("watch", uuid, "--json")
    assert ran.code == OK
    phases = [json.loads(line)["phase"] for line in ran.out.splitlines()]
    assert phases == ["RELEASING", "COMPLETED"]


async def test_watch_gives_up_after_its_timeout(execbroker: Execbroker, request_file: str) -> None:
    uuid = (await offered(execbroker, request_file))[0]
    ran = await execbroker("watch", uuid, "--timeout", "0.05")
    assert ran.code == REFUSED
    assert "still OFFERED after 0.05 s" in ran.err


async def test_cancel_stops_a_session(execbroker: Execbroker, request_file: str) -> None:
    uuid = (await offered(execbroker, request_file))[0]
    await execbroker("accept", uuid)
    assert (await execbroker("cancel", uuid, "--json")).json["phase"] == "CANCELLED"


async def test_an_update_that_is_refused_says_why(
    execbroker: Execbroker, request_file: str
) -> None:
    uuid = (await offered(execbroker, request_file))[0]
    await execbroker("reject", uuid)
    ran = await execbroker("accept", uuid)
    assert ran.code == REFUSED
    assert "a session in phase REJECTED cannot be set to ACCEPTED" in ran.err
    assert ran.out == ""
    assert (await execbroker("accept", uuid, "--json")).json["status"] == 409


async def test_nodes_are_listed(execbroker: Execbroker) -> None:
    assert "gamma" in (await execbroker("nodes")).out
    assert len((await execbroker("nodes", "--json")).json["nodes"]) == 3


@pytest.mark.parametrize("broker", [CannedBroker(federated=False)], ids=["node"])
async def test_a_node_broker_has_no_nodes_and_says_so(execbroker: Execbroker) -> None:
    ran = await execbroker("nodes")
    assert ran.code == REFUSED
    assert "a node broker, not a gateway" in ran.err


async def test_what_does_not_exist_is_refused_with_the_problem_as_json(
    execbroker: Execbroker,
) -> None:
    ran = await execbroker("show", str(uuid4()), "--json")
    assert ran.code == REFUSED
    assert ran.json["status"] == 404


async def test_a_broker_that_is_away_is_a_clear_error(
    execbroker: Execbroker, request_file: str
) -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    for argv in (("submit", request_file), ("nodes",), ("show", str(uuid4()))):
        ran = await execbroker(*argv, "--url", url)
        assert ran.code == UNAVAILABLE
        assert url in ran.err
        assert "Check that it runs" in ran.err
        assert "Traceback" not in ran.err
        assert ran.out == ""


async def test_a_federation_that_is_silent_is_unavailable(
    execbroker: Execbroker, request_file: str, broker: CannedBroker
) -> None:
    broker.away = True
    ran = await execbroker("submit", request_file)
    assert ran.code == UNAVAILABLE
    assert "No node answered" in ran.err
    assert "delta: refused the connection was refused" in ran.err


@pytest.mark.parametrize(
    ("command", "member", "told"), [("submit", "result", "YES"), ("estimate", "is_permitted", True)]
)
async def test_who_is_turned_away_for_a_moment_asks_again_and_says_so(
    execbroker: Execbroker,
    request_file: str,
    broker: CannedBroker,
    command: str,
    member: str,
    told: object,
) -> None:
    broker.overloaded = 2
    ran = await execbroker(command, request_file, "--json")
    assert ran.code == OK
    assert ran.json[member] == told
    assert ran.err.count("too much to do now; asking again in 0 s") == 2
    assert len(broker.seen) == 3


async def test_asking_again_has_an_end(
    execbroker: Execbroker, request_file: str, broker: CannedBroker
) -> None:
    broker.overloaded = 1000
    ran = await execbroker("submit", request_file)
    assert ran.code == UNAVAILABLE
    assert "nothing was begun" in ran.err
    assert len(broker.seen) == MOST_TRIES
    # Longer than anybody would sit there for.
    broker.seen.clear()
    broker.retry_after = f"{PATIENCE_S + 1:.0f}"
    ran = await execbroker("submit", request_file)
    assert ran.code == UNAVAILABLE
    assert "asking again" not in ran.err
    assert len(broker.seen) == 1


async def test_a_federation_that_is_silent_is_not_asked_again(
    execbroker: Execbroker, request_file: str, broker: CannedBroker
) -> None:
    broker.away = True
    await execbroker("submit", request_file)
    assert len(broker.seen) == 1


async def test_a_missing_account_says_which_variables_to_set(
    execbroker: Execbroker, request_file: str
) -> None:
    ran = await execbroker("submit", request_file, EXECBROKER_USERNAME="")
    assert ran.code == REFUSED
    assert "Set EXECBROKER_USERNAME" in ran.err


async def test_the_password_comes_from_the_named_variable(
    execbroker: Execbroker, request_file: str
) -> None:
    argv = ("submit", request_file, "--password-env", "OTHER")
    assert (await execbroker(*argv, OTHER=PASSWORD)).code == OK
    assert (await execbroker(*argv, OTHER="wrong")).code == REFUSED
    ran = await execbroker(*argv)
    assert ran.code == USAGE
    assert "OTHER" in ran.err


async def test_a_url_that_is_none_is_a_usage_error(execbroker: Execbroker) -> None:
    ran = await execbroker("nodes", "--url", "gateway:8080")
    assert ran.code == USAGE
    assert "not an http or https URL" in ran.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [("- one\n- two\n", "an object"), ("a: [1\n", "request.yaml"), ("", "an object")],
)
async def test_a_file_that_is_no_request_is_a_usage_error(
    execbroker: Execbroker, tmp_path: Path, broker: CannedBroker, text: str, expected: str
) -> None:
    path = tmp_path / "request.yaml"
    path.write_text(text)
    ran = await execbroker("submit", str(path))
    assert ran.code == USAGE
    assert expected in ran.err
    assert broker.seen == []


async def test_a_file_that_is_missing_is_a_usage_error(execbroker: Execbroker) -> None:
    ran = await execbroker("submit", "no-such-file.yaml")
    assert ran.code == USAGE
    assert "no-such-file.yaml" in ran.err


@pytest.mark.parametrize(
    "argv",
    [
        ["submit"],
        ["submit", "r.yaml", "--limit", "0"],
        ["submit", "r.yaml", "--wait", "nan"],
        ["submit", "r.yaml", "--wait", "-1"],
        ["accept", "not-a-uuid"],
        ["unknown"],
        [],
        ["nodes", "--password", "secret"],
    ],
)
def test_wrong_arguments_are_a_usage_error(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(argv)
    assert caught.value.code == USAGE
    assert "usage" in capsys.readouterr().err


def test_the_help_tells_variables_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    text = capsys.readouterr().out
    assert "EXECBROKER_PASSWORD" in text
    assert "exit codes" in text
