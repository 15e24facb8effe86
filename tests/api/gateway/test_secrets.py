"""Nothing secret is written anywhere: not to the log, not to the database."""

import io
from pathlib import Path

from gateway.httpkit.logs import configure_logging
from gateway.sections.credentials import BasicSettings
from gateway.wire.secret import Secret
from tests.support.faulty_nodes import Asked, running, says_no
from tests.support.gateway import running_gateway
from tests.support.node import ALICE, Account, node_settings, running_node
from tests.support.requests import minimal_request


async def test_no_password_or_environment_is_in_the_log_or_the_database(tmp_path: Path) -> None:
    log = io.StringIO()
    configure_logging(json=True, level="debug", stream=log)
    request = minimal_request()
    request["executable"]["environment"] = {"TOKEN": "hunter2-in-the-environment"}
    seen: list[Asked] = []
    node_password = "a-password-for-the-node"

    async with (
        running(says_no()) as other,
        running_node(tmp_path, node_settings()) as node,
        running_gateway(
            {"alpha": node.url, "other": other.url},
            tmp_path / "gateway",
            node_options={
                "other": {
                    "credentials": (BasicSettings(username="head", password=Secret(node_password)),)
                }
            },
        ) as gateway,
    ):
        answer = await gateway.call("POST", "/requests", request, account=ALICE)
        assert answer.status == 303
        uuid = answer.document["offers"][0]["meta"]["uuid"]
        await gateway.move(uuid, "ACCEPTED", account=ALICE)
        wrong = Account("alice", "a-wrong-password")
        assert (await gateway.call("GET", "/nodes", account=wrong)).status == 401
        seen = other.asked

    basic = seen[0].headers["authorization"].partition(" ")[2]
    text = log.getvalue()
    assert "request_done" in text
    stored = b"".join(path.read_bytes() for path in (tmp_path / "gateway").glob("gateway.db*"))
    for secret in (ALICE.password, node_password, "a-wrong-password", basic):
        assert secret not in text
        assert secret.encode() not in stored
    assert "hunter2" not in text
