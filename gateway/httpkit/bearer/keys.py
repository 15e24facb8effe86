"""The keys of one issuer: fetched in time, kept while it is away, changed when it changes them."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from gateway.httpkit.bearer.errors import InvalidTokenProblem, IssuerAwayProblem
from gateway.httpkit.bearer.fetching import FETCH_S, FetchError, IssuerReader
from gateway.httpkit.bearer.settings import IssuerSettings
from gateway.wire.documents import Document

USUAL_AGE_S: Final = 3600.0
"""How long keys are good for where their issuer does not say."""

MIN_AGE_S: Final = 300.0
"""They are kept for so long whatever it says: its answer is not asked for by every request."""

MAX_AGE_S: Final = 86_400.0
"""They are kept no longer than this, whether it says so or does not answer: a key that it has taken
back would be believed for ever by those who cannot reach it."""

RETRY_S: Final = 5.0
"""After a fetch in vain, at most so long until the next."""

MAX_KEYS: Final = 100
"""Of one issuer; they have two or three."""

_RSA_CHARACTERS: Final = range(342, 1367)  # base64url of 2048 (RFC 7518 §3.3) to 8192 bits
_CLASSES: Final[Mapping[str, type[RSAKey] | type[ECKey]]] = {"RSA": RSAKey, "EC": ECKey}
_MEMBERS: Final = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
_log = structlog.get_logger(__name__)

PublicKey: TypeAlias = RSAKey | ECKey
"""A key that signatures are verified with."""


@dataclass(frozen=True, slots=True)
class _KeySet:
    keys: tuple[PublicKey, ...] = ()
    thumbprints: frozenset[str] = frozenset()
    fetched: float = 0.0
    max_age_s: float = 0.0


class IssuerKeys:
    """The keys that one issuer signs its tokens with.

    ``run`` fetches them, again and again; nothing else does. A token whose key is not known wakes
    it, and waits until it has looked once more. So a storm of such tokens costs one fetch, and no
    token whose key is known ever waits for the issuer.

    Parameters
    ----------
    monotonic
        Gives seconds on a clock that never jumps.
    """

    def __init__(
        self,
        settings: IssuerSettings,
        reader: IssuerReader,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._monotonic = monotonic
        self._set: _KeySet | None = None
        self._tried: float | None = None
        self._wanted = asyncio.Event()
        self._round = asyncio.Event()

    async def run(self) -> None:
        """Keep the keys fresh, until cancelled."""
        async with self._reader:
            while True:
                self._wanted.clear()
                await self._fetch()
                try:
                    async with asyncio.timeout(self.fresh_for_s):
                        await self._wanted.wait()
                except TimeoutError:
                    continue

    async def find(self, kid: str | None, algorithm: str) -> PublicKey:
        """The key that a token says it was signed with; without saying, the only one it can be.

        Raises
        ------
        InvalidTokenProblem
            The issuer has no such key.
        IssuerAwayProblem
            Its keys are not known.
        """
        key = self._known(kid, algorithm)
        if key is None and self._may_ask():
            await self._next_round()
            key = self._known(kid, algorithm)
        if key is not None:
            return key
        if self._current() is None:
            raise IssuerAwayProblem(max(1, round(self._retry_s)))
        raise InvalidTokenProblem("is signed with a key that its issuer does not have")

    def has(self, key: PublicKey) -> bool:
        """Whether this is still a key of the issuer's."""
        current = self._current()
        return current is not None and key.thumbprint() in current.thumbprints

    @property
    def _retry_s(self) -> float:
        return min(RETRY_S, self._settings.keys_every_s)

    def _current(self) -> _KeySet | None:
        found = self._set
        if found is None or self._monotonic() - found.fetched > MAX_AGE_S:
            return None
        return found

    def _known(self, kid: str | None, algorithm: str) -> PublicKey | None:
        current = self._current()
        if current is None:
            return None
        fitting = [key for key in current.keys if _fits(key, kid, algorithm)]
        return fitting[0] if len(fitting) == 1 else None

    def _may_ask(self) -> bool:
        """Whether the issuer was not asked too lately to be asked again."""
        if self._tried is None:
            return True
        pause_s = self._retry_s if self._current() is None else self._settings.keys_every_s
        return self._monotonic() - self._tried >= pause_s

    async def _next_round(self) -> None:
        done = self._round
        self._wanted.set()
        try:
            async with asyncio.timeout(2 * FETCH_S):
                await done.wait()
        except TimeoutError:
            _log.warning("issuer_slow", issuer=self._settings.issuer)

    @property
    def fresh_for_s(self) -> float:
        """How long after the last fetch the next one is; sooner only for a key not known."""
        found = self._set
        if found is None or found.fetched != self._tried:
            return self._retry_s
        return found.max_age_s

    async def _fetch(self) -> None:
        began = self._monotonic()
        try:
            published = await self._reader.keys()
            keys = tuple(_read_keys(published.document))
        except FetchError as error:
            _log.warning("issuer_away", issuer=self._settings.issuer, why=str(error))
        else:
            age_s = USUAL_AGE_S if published.max_age_s is None else published.max_age_s
            self._set = _KeySet(
                keys=keys,
                thumbprints=frozenset(key.thumbprint() for key in keys),
                fetched=began,
                max_age_s=min(max(age_s, MIN_AGE_S), MAX_AGE_S),
            )
            _log.info("issuer_keys_fetched", issuer=self._settings.issuer, keys=len(keys))
        finally:
            self._tried = began
            done, self._round = self._round, asyncio.Event()
            done.set()


def _fits(key: PublicKey, kid: str | None, algorithm: str) -> bool:
    is_named = kid is None or key.kid == kid
    is_of_sort = isinstance(key, ECKey) == algorithm.startswith("ES")
    return is_named and is_of_sort and key.alg in (None, algorithm)


def _read_keys(document: Document) -> Iterator[PublicKey]:
    """The keys that signatures can be verified with; others of the set are passed by."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise FetchError("its key set has no keys")
    for entry in listed[:MAX_KEYS]:
        key = _read_key(entry)
        if key is not None:
            yield key


def _read_key(entry: Any) -> PublicKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    # Nothing private, should somebody publish it.
    public = {name: entry[name] for name in _MEMBERS if name in entry}
    modulus = public.get("n")
    is_rsa = public.get("kty") == "RSA"
    if is_rsa and (not isinstance(modulus, str) or len(modulus) not in _RSA_CHARACTERS):
        return None
    reader = _CLASSES.get(str(public.get("kty")))
    try:
        return None if reader is None else reader.import_key(public)
    except (JoseError, ValueError, TypeError) as error:
        _log.warning("issuer_key_unreadable", why=type(error).__name__)
        return None
