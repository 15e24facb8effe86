"""What the gateway logs in with at a registered node: as it is told, kept and used."""

from typing import Final, assert_never

import msgspec

from gateway.domain.node import (
    BasicCredentials,
    BearerCredentials,
    NoCredentials,
    NodeCredentials,
    PassThroughCredentials,
)
from gateway.registration_errors import NoSecretKeyError
from gateway.sealing import BrokenSealError, Sealer
from gateway.wire.documents import to_json
from gateway.wire.secret import Secret

_PLAIN: Final = b"{"
"""What is kept without a seal begins so; a seal never does."""


class _Basic(msgspec.Struct, tag_field="type", tag="basic", frozen=True):
    username: str
    password: str


class _Bearer(msgspec.Struct, tag_field="type", tag="bearer", frozen=True):
    token: str


class _Nothing(msgspec.Struct, tag_field="type", tag="none", frozen=True):
    pass


class _PassThrough(msgspec.Struct, tag_field="type", tag="pass_through", frozen=True):
    pass


_DECODER: Final = msgspec.json.Decoder(_Basic | _Bearer | _Nothing | _PassThrough)


class CredentialBox:
    """Keeps credentials for nodes; without a ``sealer``, none that have a secret in them."""

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer

    def put(self, node: str, credentials: NodeCredentials) -> bytes:
        """The credentials as they may be stored.

        Raises
        ------
        NoSecretKeyError
            They have a secret in them, and there is nothing to seal it with.
        """
        match credentials:
            case NoCredentials():
                return to_json({"type": "none"})
            case PassThroughCredentials():
                return to_json({"type": "pass_through"})
            case BasicCredentials():
                secret = to_json(
                    {
                        "type": "basic",
                        "username": credentials.username,
                        "password": credentials.password.reveal(),
                    }
                )
            case BearerCredentials():
                secret = to_json({"type": "bearer", "token": credentials.token.reveal()})
            case _:
                assert_never(credentials)
        if self._sealer is None:
            raise NoSecretKeyError
        return self._sealer.seal(secret, _context(node))

    def take(self, node: str, kept: bytes) -> NodeCredentials:
        """The credentials again.

        Raises
        ------
        BrokenSealError
            They were sealed with another key, or there is no key.
        """
        if not kept.startswith(_PLAIN):
            if self._sealer is None:
                raise BrokenSealError
            kept = self._sealer.open(kept, _context(node))
        match _DECODER.decode(kept):
            case _Basic(username=username, password=password):
                return BasicCredentials(username, Secret(password))
            case _Bearer(token=token):
                return BearerCredentials(Secret(token))
            case _PassThrough():
                return PassThroughCredentials()
            case _:
                return NoCredentials()


def _context(node: str) -> str:
    """What the seal belongs to, so that no node's can be passed off as another's."""
    return f"node:{node}"
