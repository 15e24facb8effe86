"""Passwords are hashed as seldom as possible, but always where time could tell something."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Literal

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from gateway.httpkit import passwords as passwords_module
from gateway.httpkit.errors import OverloadedProblem
from gateway.httpkit.passwords import VERIFIED_TTL_S, Passwords, hash_of_nobody


class CountingHasher(PasswordHasher):
    """Cheap, and knows what it verified; can be held up."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        self.gate.wait(5)
        self.verified.append(hash if isinstance(hash, str) else hash.decode())
        return super().verify(hash, password)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passwords(hasher: CountingHasher, clock: Clock) -> Iterator[Passwords]:
    made = Passwords(hasher, clock)
    yield made
    made.close()


async def test_a_hash_is_argon2id_and_verifies(passwords: Passwords) -> None:
    stored = await passwords.hash("pässword")
    assert stored.startswith("$argon2id$")
    assert await passwords.verify("a", "pässword", stored)
    assert not await passwords.verify("a", "other", stored)


async def test_a_stored_hash_that_is_none_never_verifies(passwords: Passwords) -> None:
    assert not await passwords.verify("a", "b", "no hash at all")


@pytest.mark.parametrize("hasher", [PasswordHasher(), CountingHasher()])
def test_to_verify_the_hash_of_nobody_takes_what_it_takes_for_others(
    hasher: PasswordHasher,
) -> None:
    nobodys = hash_of_nobody(hasher)
    assert extract_parameters(nobodys) == extract_parameters(hasher.hash("some password"))
    # It can be read, and all of the work is done before it does not match.
    with pytest.raises(VerifyMismatchError):
        hasher.verify(nobodys, "some password")
    assert hash_of_nobody(hasher) != nobodys


async def test_a_verified_password_is_not_hashed_again(
    passwords: Passwords, hasher: CountingHasher
) -> None:
    stored = await passwords.hash("right")
    for _ in range(3):
        assert await passwords.verify("a", "right", stored)
    assert len(hasher.verified) == 1


async def test_a_wrong_password_is_hashed_every_time(
    passwords: Passwords, hasher: CountingHasher
) -> None:
    stored = await passwords.hash("right")
    for _ in range(3):
        assert not await passwords.verify("a", "wrong", stored)
    assert len(hasher.verified) == 3


async def test_nobody_costs_a_hash_of_its_own(passwords: Passwords, hasher: CountingHasher) -> None:
    for _ in range(2):
        assert not await passwords.verify("nobody", "x", None)
    first, second = hasher.verified
    assert first == second
    assert first.startswith("$argon2id$")


async def test_a_verified_password_is_forgotten_in_time(
    passwords: Passwords, hasher: CountingHasher, clock: Clock
) -> None:
    stored = await passwords.hash("right")
    assert await passwords.verify("a", "right", stored)
    clock.now = VERIFIED_TTL_S - 1
    assert await passwords.verify("a", "right", stored)
    assert len(hasher.verified) == 1
    clock.now = VERIFIED_TTL_S
    assert await passwords.verify("a", "right", stored)
    assert len(hasher.verified) == 2


async def test_another_stored_hash_ends_the_memory_at_once(passwords: Passwords) -> None:
    assert await passwords.verify("a", "old", await passwords.hash("old"))
    assert not await passwords.verify("a", "old", await passwords.hash("new"))


async def test_what_is_remembered_for_one_name_is_not_for_another(
    passwords: Passwords, hasher: CountingHasher
) -> None:
    stored = await passwords.hash("b")
    assert await passwords.verify("a", "b", stored)
    assert not await passwords.verify("ab", "", stored)
    assert len(hasher.verified) == 2


async def test_the_memory_is_bounded(
    passwords: Passwords, hasher: CountingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords_module, "VERIFIED_MAX", 2)
    stored = await passwords.hash("right")
    for name in ("a", "b", "c"):
        assert await passwords.verify(name, "right", stored)
    assert await passwords.verify("c", "right", stored)
    assert len(hasher.verified) == 3
    assert await passwords.verify("a", "right", stored)
    assert len(hasher.verified) == 4


async def test_many_at_once_with_one_password_hash_little_and_block_nothing(
    passwords: Passwords, hasher: CountingHasher
) -> None:
    stored = await passwords.hash("right")
    hasher.gate.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(passwords.verify("a", "right", stored)) for _ in range(50)]
        await asyncio.sleep(0)  # they have begun
        assert passwords._waiting == 50
        hasher.gate.set()
    assert all(task.result() for task in tasks)
    assert len(hasher.verified) <= passwords_module.HASH_THREADS


async def test_too_many_at_once_are_told_to_come_back(
    passwords: Passwords, hasher: CountingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords_module, "HASH_QUEUE_MAX", 3)
    stored = await passwords.hash("right")
    hasher.gate.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(passwords.verify(str(i), "right", stored)) for i in range(3)]
        await asyncio.sleep(0)  # they have begun
        assert passwords._waiting == 3
        with pytest.raises(OverloadedProblem) as caught:
            await passwords.verify("late", "right", stored)
        hasher.gate.set()
    assert all(task.result() for task in tasks)
    assert caught.value.headers == {"Retry-After": "1"}
    assert await passwords.verify("late", "right", stored)
