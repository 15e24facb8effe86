"""The proof of a URL: the same on both sides, of one registration alone."""

import base64
import hashlib
import hmac
from pathlib import Path

import aiohttp
import pytest

from gateway.httpkit.membership.challenge import Challenge
from node_stub.membership_files import MembershipFiles
from tests.support.joined_gateway import joined_gateway
from tests.support.membership import joining

NONCE = "n" * 43
URL = "https://node.example.org/broker"


def test_the_proof_is_that_of_the_protocol() -> None:
    key = bytes(range(32))
    text = f"execbroker-challenge:{NONCE}:{URL}".encode()
    digest = hmac.new(key, text, hashlib.sha256).digest()
    proof = Challenge(URL, key).response(NONCE)
    assert base64.urlsafe_b64decode(proof + "=") == digest
    assert "=" not in proof


def test_every_registration_has_a_key_of_its_own_that_does_not_show() -> None:
    one, other = Challenge.of(URL), Challenge.of(URL)
    assert one.response(NONCE) != other.response(NONCE)
    assert len(one.key) == 32
    assert repr(one.key)[2:-1] not in repr(one)
    assert one.key_text not in repr(one)


@pytest.mark.parametrize("nonce", ["", "n" * 42, "n" * 44, "n" * 42 + "!", "n" * 42 + "%0A"])
async def test_a_nonce_of_another_form_gets_no_proof(nonce: str, tmp_path: Path) -> None:
    files = MembershipFiles(tmp_path)
    async with (
        joined_gateway() as gateway,
        joining(gateway, tmp_path, keeping=files) as here,
        aiohttp.ClientSession(here.lifecycle.listening_at) as http,
        files.registering(URL) as challenge,
    ):
        async with http.get(f"/.well-known/execbroker-challenge/{NONCE}") as answer:
            assert await answer.json() == {"response": challenge.response(NONCE)}
        async with http.get(f"/.well-known/execbroker-challenge/{nonce}") as answer:
            assert answer.status == 404
