"""Calls of the gateway whose every failure has to be one that is documented."""

import os
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol

import aiohttp

from gateway.wire.problem import ProblemError
from tests.soak.told import Told
from tests.soak.watching import waited_s
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.node import ALICE, BOB, Account

TIMEOUT: Final = aiohttp.ClientTimeout(total=15.0)
"""Ten deadlines: who waits longer waits for ever."""

UNAVAILABLE: Final = frozenset(
    {
        *("no-node-answered", "required-node-silent", "overloaded", "not-ready"),
        *("store-unavailable", "budget-spent"),
    }
)
"""Problems of the sort 5xx that a client may get whatever it asked for; all say to try again."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call; ``may_fail`` are the problems that it may be answered with, ``op`` what it is."""

    op: str
    method: str
    path: str
    document: Any = None
    may_fail: frozenset[str] = frozenset()
    must_fail: bool = False


class Calls(Protocol):
    """Makes a call; gives the answer, or None where none came because nobody was there."""

    async def __call__(
        self, call: Call, *, account: Account | None = None, **headers: str
    ) -> Answer | None: ...


class Standing(Protocol):
    """How a gateway's process stands: whether it is up, how often it died, and which it is."""

    @property
    def is_up(self) -> bool: ...
    @property
    def deaths(self) -> int: ...
    @property
    def pid(self) -> int: ...


class Caller:
    """Makes calls of one gateway and writes down what is wrong with the answers."""

    def __init__(self, gateway: Standing, client: GatewayUnderTest, told: Told) -> None:
        self._gateway = gateway
        self._client = client
        self._told = told

    async def __call__(
        self, call: Call, *, account: Account | None = None, **headers: str
    ) -> Answer | None:
        """The answer; None where there was none because the gateway was not there."""
        deaths, began, was_up = self._gateway.deaths, self._time_s(), self._gateway.is_up
        try:
            answer = await self._client.call(
                call.method, call.path, call.document, account=account, **headers
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            if was_up and self._gateway.is_up and deaths == self._gateway.deaths:
                self._told.fault(f"{call.op} {call.path}: {type(error).__name__} {error}")
            self._told.counts[call.op, "no answer"] += 1
            return None
        self._told.counts[call.op, self._outcome(call, answer)] += 1
        is_quiet = was_up and deaths == self._gateway.deaths
        if call.op == "ask" and is_quiet:
            self._told.ask_s.append(self._time_s() - began)
        return answer

    def _time_s(self) -> float:
        """The time, without what the machine kept the gateway and us waiting for a processor."""
        return monotonic() - waited_s(self._gateway.pid) - waited_s(os.getpid())

    def _outcome(self, call: Call, answer: Answer) -> str:
        if answer.status < 400:
            if call.must_fail:
                self._told.fault(f"{call.op} {call.path}: {answer.status} for a bad request")
            return str(answer.status)
        problem = answer.document if isinstance(answer.document, dict) else {}
        if call.path == "/direct" and answer.status == 400 and problem.get("phase") == "FAILED":
            return "400 FAILED"  # nobody can execute it, and the session says why
        slug = slug_of(answer)
        where = f"{call.op} {call.method} {call.path}"
        if DOCUMENTED.get(slug) != answer.status or "problem+json" not in answer.headers.get(
            "Content-Type", ""
        ):
            self._told.fault(f"{where}: undocumented {answer.status} {answer.text[:300]}")
        elif slug not in call.may_fail | UNAVAILABLE:
            self._told.fault(f"{where}: unexpected {slug} {answer.text[:300]}")
        elif answer.status == 503 and "Retry-After" not in answer.headers:
            self._told.fault(f"{where}: {slug} does not say when to try again")
        return f"{answer.status} {slug}"


def slug_of(answer: Answer) -> str:
    """Which problem it is; empty where it is none."""
    problem = answer.document if isinstance(answer.document, dict) else {}
    return str(problem.get("type", "")).rpartition("/")[2].rpartition(":")[2]


def _documented() -> dict[str, int]:
    """The status of every problem that there is, by its slug."""
    found: dict[str, int] = {}
    waiting = [ProblemError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind is not ProblemError:
            found[kind.slug] = kind.status
    return found


DOCUMENTED: Final = _documented()
"""Every kind of failure that the gateway documents. A 500 is among them, and never expected."""

ACCOUNTS: Final = (ALICE, BOB)
"""Who the clients are."""
