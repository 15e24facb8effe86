"""Who is shut out is shut out by every process of a gateway, whichever store they share."""

from pathlib import Path

from tests.api.gateway.test_identities import CAROL, can_log_in, change, uuid_of
from tests.support.callers import token_service
from tests.support.gateway import running_gateway
from tests.support.issuer_process import issuer_process
from tests.support.waiting import eventually


async def test_what_one_process_changes_holds_for_the_others_at_once(tmp_path: Path) -> None:
    async with (
        running_gateway({}, tmp_path) as one,
        running_gateway({}, tmp_path) as two,
    ):
        uuid = await uuid_of(one, CAROL)
        assert await can_log_in(two, CAROL)
        await change(one, uuid, revoked=True, groups=["astro"])
        assert not await can_log_in(two, CAROL)
        await change(two, uuid, revoked=False)
        assert await can_log_in(one, CAROL)
        page = await two.call("GET", "/admin/identities?after=bob")
        assert page.document["identities"][0]["groups"] == ["astro"]
        await one.call("DELETE", f"/admin/identities/{uuid}")
        assert not await can_log_in(two, CAROL)


async def test_a_revocation_is_seen_by_other_processes_and_outlives_them(tmp_path: Path) -> None:
    path = "/admin/revocations"
    with issuer_process() as issuer:
        subject = {"issuer": issuer.url, "subject": "mallory"}
        token = await issuer.token("mallory")
        async with (
            token_service("gateway", tmp_path, issuer.settings()) as one,
            token_service("gateway", tmp_path, issuer.settings()) as two,
        ):
            assert await two.lets_in(token)
            for _ in range(2):
                assert (await one.call(None, path, "POST", subject)).status == 200
            await one.call(None, path, "POST", subject | {"subject": "dave"})

            async def is_shut_out() -> bool:
                return not await two.lets_in(token)

            await eventually(is_shut_out)
        async with token_service("gateway", tmp_path, issuer.settings()) as later:
            assert not await later.lets_in(token)
            first = await later.call(None, path, limit="1")
            assert first.document["revocations"] == [subject | {"subject": "dave"}]
            rest = await later.call(None, path, after=first.document["next"])
            assert rest.document == {"revocations": [subject], "next": None}
            assert (await later.call(None, path, "DELETE", **subject)).status == 204
            assert (await later.call(None, path, "DELETE", **subject)).status == 404
            assert await later.lets_in(token)
