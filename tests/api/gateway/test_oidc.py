"""Tokens of OpenID providers, at the gateway and at nodes; providers are processes of their own."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from time import time
from typing import Any

import pytest

from gateway.cli.arguments import parser
from gateway.cli.output import OK, REFUSED
from gateway.cli.running import run
from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.httpkit.server_settings import AuthenticationSettings, Reads
from tests.api.gateway.conftest import running_federation
from tests.support.callers import ADMINISTRATION, NOT_THERE, token_service
from tests.support.gateway import GatewayUnderTest
from tests.support.issuer_process import AUDIENCE, IssuerProcess, issuer_process
from tests.support.node import ALICE, Account
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

both = pytest.mark.parametrize("sort", ["gateway", "node"])
"""What is asked of tokens is the same at both services."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[IssuerProcess]:
    with issuer_process() as running:
        yield running


@both
async def test_a_token_that_holds_lets_its_subject_in_beside_passwords(
    issuer: IssuerProcess, tmp_path: Path, sort: str
) -> None:
    async with token_service(sort, tmp_path, issuer.settings()) as service:
        assert await service.lets_in(await issuer.token())
        assert await service.lets_in(await issuer.token(aud=["https://other", AUDIENCE]))
        assert await service.lets_in(await issuer.token(header={"alg": "ES256"}))
        assert await service.lets_in(await issuer.token(header={"typ": "at+jwt"}))
        assert await service.lets_in(await issuer.token(header={"typ": None}))
        async with service.http.get(service.url + NOT_THERE, headers=ALICE.headers) as answer:
            assert answer.status == 404


@both
async def test_tokens_that_do_not_hold_are_refused_and_it_is_said_why(
    issuer: IssuerProcess, tmp_path: Path, sort: str
) -> None:
    now = time()
    wrong: dict[str, dict[str, Any]] = {
        "has expired": {"exp": now - 60},
        "is for another audience": {"aud": "https://other"},
        "is of an issuer that is not known here": {"iss": issuer.url.rstrip("/")},
        "is not valid yet": {"nbf": now + 60},
        "does not say when it expires": {"exp": None},
        "does not say whom it speaks for": {"subject": None},
        "has a time that cannot be read": {"exp": "tomorrow"},
        "is not an access token": {"header": {"typ": "logout+jwt"}},
        "has a header that is not understood": {"header": {"crit": ["exp"]}},
    }
    async with token_service(sort, tmp_path, issuer.settings()) as service:
        for why, claims in wrong.items():
            token = await issuer.token(**claims)
            assert await service.refusal(token) == f"The bearer token {why}."
        heard = await service.call(await issuer.token(iat=now + 60))
        assert heard.challenges == (
            'Bearer realm="Realm", error="invalid_token", error_description="is not valid yet"',
            'Basic realm="Realm"',
        )
        assert heard.document["type"].endswith("/invalid-token")
        async with service.http.get(service.url + NOT_THERE) as answer:
            assert answer.headers.getall("WWW-Authenticate") == [
                'Basic realm="Realm"',
                'Bearer realm="Realm"',
            ]


async def test_clocks_may_differ_by_the_leeway_and_no_more(
    issuer: IssuerProcess, tmp_path: Path
) -> None:
    now = time()
    async with token_service("gateway", tmp_path, issuer.settings(leeway_s=60)) as service:
        assert await service.lets_in(await issuer.token(exp=now - 30))
        assert await service.lets_in(await issuer.token(nbf=now + 30, iat=now + 30))
        assert not await service.lets_in(await issuer.token(exp=now - 61))
        assert not await service.lets_in(await issuer.token(nbf=now + 120))


@both
async def test_tokens_that_nobody_has_signed_are_refused(
    issuer: IssuerProcess, tmp_path: Path, sort: str
) -> None:
    token = await issuer.token()
    header, claims, signature = token.split(".")
    keys = (await issuer.jwks())["keys"]
    kid = keys[0]["kid"]
    public = _bytes(keys[0]["n"])
    other = await issuer.token("sub-of-the-director")
    forged = {
        "another's claims": f"{header}.{other.split('.')[1]}.{signature}",
        "no signature": f"{header}.{claims}.",
        "alg none": f"{_part({'alg': 'none', 'kid': kid})}.{claims}.",
        "alg None": f"{_part({'alg': 'None', 'kid': kid})}.{claims}.{signature}",
        "HS256 with the public key": _with_secret(kid, claims, public),
        "HS256 with the key as it is published": _with_secret(
            kid, claims, json.dumps(keys[0]).encode()
        ),
        "RS256 with the curve's key": f"{_part({'alg': 'RS256', 'kid': f'{kid}-ec'})}.{claims}.AA",
        "its own key": _with_own_key(claims, signature, keys[0]),
        "garbage": "a.b.c",
        "no token": "garbage",
        "nothing": "..",
        "no text": "ä.ö.ü",
        "a nest": f"{base64.urlsafe_b64encode(b'[' * 3000).decode()}.{claims}.{signature}",
        "a list": f"{_part([])}.{claims}.{signature}",
        "a number as key": f"{_part({'alg': 'RS256', 'kid': 7})}.{claims}.{signature}",
        "long": f"{header}.{claims}{'A' * 6000}.{signature}",
    }
    async with token_service(sort, tmp_path, issuer.settings()) as service:
        assert await service.lets_in(token)
        for what, text in forged.items():
            assert not await service.lets_in(text), what
        async with service.http.get(
            service.url + NOT_THERE, headers={"Authorization": f"Bearer {'A' * 20_000}"}
        ) as answer:
            assert answer.status == 400


@both
async def test_new_keys_are_found_and_the_old_ones_not_believed_any_more(
    issuer: IssuerProcess, tmp_path: Path, sort: str
) -> None:
    async with token_service(sort, tmp_path, issuer.settings()) as service:
        old = await issuer.token()
        assert await service.lets_in(old)
        await issuer.control(rotate=True)
        assert await service.lets_in(old), "verified, and nothing said against it yet"

        async def is_known() -> bool:
            return await service.lets_in(await issuer.token())

        await eventually(is_known)
        assert "does not have" in await service.refusal(old)


async def test_a_storm_of_unknown_keys_costs_one_fetch(
    issuer: IssuerProcess, tmp_path: Path
) -> None:
    settings = issuer.settings(keys_every_s=60)
    before = await issuer.fetched()
    async with token_service("gateway", tmp_path, settings) as service:
        assert await service.lets_in(await issuer.token())
        tokens = [await issuer.token(header={"kid": f"unknown-{n}"}) for n in range(20)]
        assert not any(await asyncio.gather(*(service.lets_in(token) for token in tokens)))
        assert await service.lets_in(await issuer.token("somebody-else"))
    assert await issuer.fetched() == before + 1


async def test_groups_say_who_may_call_and_who_administers(
    issuer: IssuerProcess, tmp_path: Path
) -> None:
    settings = issuer.settings(
        required_groups=("/ska", "/ska/ops"), admin_groups=("/ska/ops",), group_prefix="iam:"
    )
    async with token_service("gateway", tmp_path, settings) as service:
        stranger = await issuer.token("stranger", groups=["/cms"], entitlements=["iam:/ska"])
        heard = await service.call(stranger)
        assert heard.status == 403
        assert 'error="insufficient_scope"' in heard.challenges[0]
        member = await issuer.token("member", **_claims("wlcg.groups", "/cms", "/ska", 7, ""))
        assert (await service.call(member)).status == 404
        assert (await service.call(member, ADMINISTRATION)).status == 403
        head = await issuer.token("head", groups="/ska/ops")
        assert (await service.call(head, ADMINISTRATION)).status == 200


async def test_who_owns_is_told_by_issuer_and_subject_alone(
    issuer: IssuerProcess, tmp_path: Path
) -> None:
    with issuer_process() as other:
        trust = _trust(issuer.settings(admin_groups=("admins",)), other.settings())
        async with running_federation(tmp_path, ("alpha",), authentication=trust) as federation:
            gateway = federation.gateway
            carol = await issuer.token("carol", preferred_username="carol@example.org")
            made = await gateway.ask(minimal_request(), account=_Bearer(carol))
            assert made.status == 303, made.text
            path = f"/offersets/{made.document['meta']['uuid']}"
            again = await issuer.token("carol", preferred_username="carol@example.com", jti="2")
            assert await _status(gateway, path, again) == 200
            assert await _status(gateway, path, await issuer.token("dave")) == 404
            assert await _status(gateway, path, await other.token("carol")) == 404
            uuid = made.document["offers"][0]["meta"]["uuid"]
            moved = await gateway.move(uuid, "ACCEPTED", account=_Bearer(again))
            assert (moved.status, moved.document["phase"]) == (200, "ACCEPTED")
            # An administrator by a group sees everything, and owns what it makes.
            head = await issuer.token("head", groups=["admins"])
            assert await _status(gateway, path, head) == 200
            mine = await gateway.ask(minimal_request(), account=_Bearer(head))
            plain = await issuer.token("head")
            path = f"/offersets/{mine.document['meta']['uuid']}"
            assert await _status(gateway, path, plain) == 200


@both
async def test_who_is_revoked_is_refused_at_once_and_let_in_again(
    issuer: IssuerProcess, tmp_path: Path, sort: str
) -> None:
    subject = {"issuer": issuer.url, "subject": "mallory"}
    path = "/admin/revocations"
    async with token_service(sort, tmp_path, issuer.settings()) as service:
        token, other = await issuer.token("mallory"), await issuer.token("carol")
        assert await service.lets_in(token)
        for _ in range(2):
            heard = await service.call(None, path, "POST", subject)
            assert (heard.status, heard.document) == (200, subject)
        assert "revoked" in await service.refusal(token)
        assert "revoked" in await service.refusal(await issuer.token("mallory", jti="fresh"))
        assert await service.lets_in(other)
        await service.call(None, path, "POST", subject | {"subject": "dave"})
        first = await service.call(None, path, limit="1")
        assert first.document["revocations"] == [subject | {"subject": "dave"}]
        rest = await service.call(None, path, limit="1", after=first.document["next"])
        assert rest.document == {"revocations": [subject], "next": None}
        assert (await service.call(None, path, "DELETE", **subject)).status == 204
        assert (await service.call(None, path, "DELETE", **subject)).status == 404
        assert await service.lets_in(token)
        unknown = subject | {"issuer": "https://other.example.org"}
        assert (await service.call(None, path, "POST", unknown)).status == 400


async def test_without_its_keys_nobody_knows_and_with_them_it_may_go_away(tmp_path: Path) -> None:
    issuer = IssuerProcess()
    issuer.start()
    try:
        token = await issuer.token()
        issuer.stop()
        async with token_service("gateway", tmp_path, issuer.settings()) as service:
            heard = await service.call(token)
            assert heard.status == 503, heard
            assert heard.document["type"].endswith("/issuer-away")
            assert int(heard.headers["Retry-After"]) >= 1
            issuer.start()

            async def is_let_in() -> bool:
                return (await service.call(await issuer.token())).status == 404

            await eventually(is_let_in)
            known, fresh = await issuer.token("a"), await issuer.token("b")
            assert await service.lets_in(known)
            issuer.stop()
            assert await service.lets_in(known)
            assert await service.lets_in(fresh), "its keys are known"
    finally:
        issuer.stop()


async def test_a_provider_that_says_it_is_another_is_not_believed(tmp_path: Path) -> None:
    with issuer_process() as issuer:
        await issuer.control(named="https://idp.example.org/")
        async with token_service("gateway", tmp_path, issuer.settings()) as service:
            assert (await service.call(await issuer.token())).status == 503


async def test_a_verified_token_ends_when_it_expires(issuer: IssuerProcess, tmp_path: Path) -> None:
    async with token_service("gateway", tmp_path, issuer.settings(leeway_s=0)) as service:
        token = await issuer.token(exp=time() + 1.5)
        assert await service.lets_in(token)

        async def has_ended() -> bool:
            return not await service.lets_in(token)

        await eventually(has_ended)
        assert await service.refusal(token) == "The bearer token has expired."


async def test_the_command_calls_with_the_token_of_the_moment_and_shows_none(
    issuer: IssuerProcess, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    async with token_service("gateway", tmp_path, issuer.settings()) as service:
        argv = ["nodes", "--url", service.url, "--token-file", str(file), "--json"]
        said = ""
        for text, code in ((await issuer.token(), OK), (await issuer.token(exp=1), REFUSED)):
            file.write_text(f"{text}\n")
            out, err = StringIO(), StringIO()
            assert await run(parser().parse_args(argv), out, err, {}) == code, err.getvalue()
            said = out.getvalue() + err.getvalue()
            assert text not in said
        assert "has expired" in said


class _Bearer(Account):
    """An account that is a token."""

    def __init__(self, token: str) -> None:
        super().__init__("", token)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.password}"}


async def _status(gateway: GatewayUnderTest, path: str, token: str) -> int:
    return (await gateway.call("GET", path, account=_Bearer(token))).status


def _trust(*issuers: IssuerSettings) -> AuthenticationSettings:
    return AuthenticationSettings(reads=Reads.OWNER, issuers=issuers)


def _part(document: Any) -> str:
    text = json.dumps(document).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _with_secret(kid: str, claims: str, secret: bytes) -> str:
    signed = f"{_part({'alg': 'HS256', 'kid': kid})}.{claims}"
    digest = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _with_own_key(claims: str, signature: str, key: Any) -> str:
    return f"{_part({'alg': 'RS256', 'jwk': key, 'kid': 'own'})}.{claims}.{signature}"


def _claims(name: str, *values: Any) -> dict[str, Any]:
    return {name: list(values)}
