"""Passwords: hashed slowly, off the event loop, and not again for every call."""

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from gateway.httpkit.errors import OverloadedProblem

_T = TypeVar("_T")

VERIFIED_TTL_S: Final = 60.0
"""How long a verified password is taken without hashing. It bounds what a leaked memory image is
worth, not how long a changed password works: another stored hash ends it at once."""

VERIFIED_MAX: Final = 10_000
"""Verified passwords remembered, 32 bytes of digest each; the oldest go first."""

HASH_THREADS: Final = 2
"""Hashes at once. Each takes tens of MiB and a core for tens of ms (argon2-cffi's defaults)."""

HASH_QUEUE_MAX: Final = 200
"""Hashes waiting at once, about five seconds' worth; beyond it callers are told to come back."""


def hash_of_nobody(hasher: PasswordHasher) -> str:
    """What no password that anybody knows has as its hash; to verify one takes as long as ever.

    It is drawn, not computed: a program that starts has better things to do for its first second.
    The text is that of the reference implementation (its ``encoding.c``).
    """
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    drawn = (secrets.token_bytes(hasher.salt_len), secrets.token_bytes(hasher.hash_len))
    salt, digest = (base64.b64encode(part).decode().rstrip("=") for part in drawn)
    return f"$argon2{hasher.type.name.lower()}$v={ARGON2_VERSION}${cost}${salt}${digest}"


class Passwords:
    """Hashes and verifies passwords with argon2id.

    Parameters
    ----------
    hasher
        Cheaper parameters than the library's defaults are for tests only.
    clock
        Monotonic seconds, for the memory of verified passwords.
    """

    def __init__(
        self, hasher: PasswordHasher | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[bytes, float] = OrderedDict()
        self._waiting = 0
        self._slots = asyncio.Semaphore(HASH_THREADS)
        self._threads = ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="password")
        self._nobodys_hash = hash_of_nobody(self._hasher)

    def close(self) -> None:
        """End the threads; hashes that have begun are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The encoded hash to store.

        Raises
        ------
        OverloadedProblem
            Too many hashes wait already.
        """
        async with self._slot():
            return await self._in_thread(self._hasher.hash, password)

    async def verify(self, username: str, password: str, stored_hash: str | None) -> bool:
        """Whether the password is the one that was hashed.

        Without a stored hash (nobody of that name) it takes as long as with one, so that time does
        not tell which names exist.

        Raises
        ------
        OverloadedProblem
            Too many hashes wait already.
        """
        if stored_hash is None:
            async with self._slot():
                await self._in_thread(self._matches, self._nobodys_hash, password)
            return False
        digest = self._digest(username, password, stored_hash)
        if self._is_remembered(digest):
            return True
        async with self._slot():
            # Of many calls that came at once with the same password, the first has hashed by now.
            if self._is_remembered(digest):
                return True
            is_right = await self._in_thread(self._matches, stored_hash, password)
        if is_right:
            self._remember(digest)
        return is_right

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._waiting >= HASH_QUEUE_MAX:
            raise OverloadedProblem("Too many passwords are being checked.")
        self._waiting += 1
        try:
            async with self._slots:
                yield
        finally:
            self._waiting -= 1

    async def _in_thread(self, work: Callable[..., _T], *args: str) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _matches(self, stored_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def _digest(self, username: str, password: str, stored_hash: str) -> bytes:
        parts = (username.encode(), password.encode(), stored_hash.encode())
        # Lengths first, so that no two triples give the same text.
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, text, hashlib.sha256)

    def _is_remembered(self, digest: bytes) -> bool:
        expires = self._verified.get(digest)
        if expires is None:
            return False
        if self._clock() < expires:
            return True
        del self._verified[digest]
        return False

    def _remember(self, digest: bytes) -> None:
        self._verified[digest] = self._clock() + VERIFIED_TTL_S
        self._verified.move_to_end(digest)
        while len(self._verified) > VERIFIED_MAX:
            self._verified.popitem(last=False)
