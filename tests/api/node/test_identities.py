"""Local identities at a node: as at the gateway, in the node's own store."""

from pathlib import Path

from tests.support.node import ADMIN, ALICE, NodeClient, running_node


async def test_identities_are_listed_changed_revoked_and_removed(node: NodeClient) -> None:
    listed = await node.call("GET", "/admin/identities", auth=ADMIN)
    assert [one["username"] for one in listed.document["identities"]] == ["alice", "bob"]
    path = f"/admin/identities/{listed.document['identities'][0]['uuid']}"
    for body, status in (
        ({"groups": ["astro"]}, 200),
        ({"revoked": True}, 401),
        ({"revoked": False}, 200),
        ({"password": "another"}, 401),
        ({"password": ALICE.password}, 200),
    ):
        changed = await node.call("PATCH", path, json=body, auth=ADMIN)
        assert changed.status == 200, changed
        seen = await node.call("GET", "/sessions/5b0c7d3e-6b0c-4d0a-9a52-0e2f4a1d7c01")
        assert seen.status == (404 if status == 200 else 401), body
    one = await node.call("GET", path, auth=ADMIN)
    assert (one.document["groups"], one.document["revoked"]) == (["astro"], False)
    assert (await node.call("DELETE", path, auth=ADMIN)).status == 204
    assert (await node.call("DELETE", path, auth=ADMIN)).status == 404
    assert (await node.call("PATCH", path, json={}, auth=ADMIN)).status == 404


async def test_what_was_changed_outlives_a_restart(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        listed = await node.call("GET", "/admin/identities?limit=1", auth=ADMIN)
        assert listed.document["next"] == "alice"
        path = f"/admin/identities/{listed.document['identities'][0]['uuid']}"
        await node.call("PATCH", path, json={"revoked": True}, auth=ADMIN)
    async with running_node(tmp_path) as node:
        assert (await node.call("GET", path, auth=ADMIN)).document["revoked"]
