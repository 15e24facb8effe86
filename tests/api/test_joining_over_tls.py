"""A node joins a gateway whose certificate is of an authority that the system does not know."""

import ssl
from pathlib import Path

import aiohttp

from gateway.wire.documents import Document
from tests.support.authority import Authority
from tests.support.gateway import GatewayProcess
from tests.support.node import ADMIN, node_process, process_config
from tests.support.waiting import eventually


async def test_a_node_joins_a_gateway_by_the_authority_in_its_settings(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certify("127.0.0.1")
    trust = ssl.create_default_context(cafile=authority.file)
    (tmp_path / "gateway").mkdir()
    (tmp_path / "node").mkdir()
    process = GatewayProcess(
        {},
        tmp_path / "gateway",
        tls={"certificate": str(certificate)},
        registration={"allow_private_addresses": True},
    )
    await process.start()
    try:
        async with aiohttp.ClientSession(headers=ADMIN.headers) as http:
            where = f"https://{process.url.rpartition('/')[2]}"
            tokens = f"{where}/admin/registration-tokens"
            async with http.post(tokens, json={}, ssl=trust) as answer:
                assert answer.status == 201, await answer.text()
                token = (await answer.json())["token"]
            join = {"gateway": where, "token_env": "TOKEN", "ca_file": str(authority.file)}
            config = process_config(join=[join])
            async with node_process(tmp_path / "node", config, {"TOKEN": token}) as node:

                async def is_member() -> bool:
                    async with http.get(f"{node.url}/admin/memberships") as shown:
                        (one,) = (await shown.json())["memberships"]
                    return bool(one["state"] == "member")

                await eventually(is_member, 15)
                async with http.get(f"{where}/nodes", ssl=trust) as answer:
                    listed: Document = await answer.json()
        assert [entry["name"] for entry in listed["nodes"]] == ["alpha"]
    finally:
        await process.stop()
