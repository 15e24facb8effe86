"""Bearer tokens of OpenID providers: from the text of a token to who calls."""

import base64
import binascii
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.httpkit.auth import Principal, Role
from gateway.httpkit.bearer.claims import Speaker, check_type, read_claims
from gateway.httpkit.bearer.errors import InsufficientScopeProblem, InvalidTokenProblem
from gateway.httpkit.bearer.revoked import Revocations
from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.wire.codecs.base import CodecError
from gateway.wire.codecs.json import decode
from gateway.wire.documents import Document

if TYPE_CHECKING:
    from gateway.httpkit.bearer.issuers import Issuer
    from gateway.httpkit.bearer.keys import IssuerKeys, PublicKey

MAX_TOKEN_BYTES: Final = 16 << 10
"""Twice the longest header line that is read."""

VERIFIED_MAX: Final = 10_000
"""Tokens whose signature need not be verified again, half a kilobyte each; the oldest go first."""


@dataclass(frozen=True, slots=True)
class _Verified:
    speaker: Speaker
    issuer: "Issuer"
    key: "PublicKey"


class OidcScheme:
    """Tokens of the issuers in the settings.

    The keys are fetched by what ``duties`` gives, which is to be run as long as this is used.

    Parameters
    ----------
    now
        Gives seconds since 1970.
    """

    def __init__(
        self,
        issuers: Sequence[IssuerSettings],
        revocations: Revocations,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuers = _known(issuers) if issuers else {}
        self.revocations = revocations
        self._now = now
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    @property
    def keys(self) -> "Mapping[str, IssuerKeys]":
        """The keys of each issuer, by its URL."""
        return {url: issuer.keys for url, issuer in self._issuers.items()}

    async def principal(self, token: str) -> Principal | None:
        """Who the token speaks for; None where it is no token of an OpenID provider.

        Raises
        ------
        InvalidTokenProblem
            It is one, and does not hold.
        InsufficientScopeProblem
            It holds, and its subject may not call.
        IssuerAwayProblem
            It cannot be known whether it holds.
        """
        if not self._issuers or token.count(".") != 2:
            return None
        digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        found = self._remembered(digest)
        if found is None:
            found = await self._verify(token)
            self._remember(digest, found)
        speaker = found.speaker
        if await self.revocations.is_revoked(speaker.subject):
            raise InvalidTokenProblem("is of somebody whose access has been revoked")
        if not speaker.is_member:
            raise InsufficientScopeProblem
        return Principal(
            owner=speaker.owner,
            username=speaker.username,
            is_admin=speaker.is_admin,
            groups=speaker.groups,
            role=Role.ADMIN if speaker.is_admin else Role.USER,
        )

    async def _verify(self, token: str) -> _Verified:
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise InvalidTokenProblem("cannot be read")
        header_text, payload_text, _ = token.split(".")
        header, issuer = _read(header_text), self._issuer_of(_read(payload_text))
        check_type(header)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in issuer.settings.algorithms:
            raise InvalidTokenProblem("is signed in a way that is not taken here")
        if "crit" in header or not (kid is None or isinstance(kid, str)):
            raise InvalidTokenProblem("has a header that is not understood")
        key = await issuer.keys.find(kid, algorithm)
        claims = decode(issuer.signed(token, key))
        return _Verified(read_claims(claims, issuer.settings, self._now()), issuer, key)

    def _issuer_of(self, claims: Document) -> "Issuer":
        """Whose it says it is: what that is worth is seen when the signature is verified."""
        named = claims.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise InvalidTokenProblem("is of an issuer that is not known here")
        return issuer

    def _remembered(self, digest: bytes) -> _Verified | None:
        found = self._verified.get(digest)
        if found is None:
            return None
        if found.speaker.expires <= self._now() or not found.issuer.keys.has(found.key):
            # Looked at anew, which says why it does not hold any more.
            del self._verified[digest]
            return None
        self._verified.move_to_end(digest)
        return found

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._verified[digest] = verified
        if len(self._verified) > VERIFIED_MAX:
            self._verified.popitem(last=False)


def _known(issuers: Sequence[IssuerSettings]) -> "Mapping[str, Issuer]":
    from gateway.httpkit.bearer.issuers import issuers_of  # noqa: PLC0415 - joserfc is slow to load

    return issuers_of(issuers)


def _read(text: str) -> Document:
    """A part of a token that is JSON."""
    try:
        document = decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (CodecError, binascii.Error) as error:
        raise InvalidTokenProblem("cannot be read") from error
    if not isinstance(document, dict):
        raise InvalidTokenProblem("cannot be read")
    return document
