"""Clients of several gateways: each call goes to any of them, what is not answered is repeated."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from gateway.wire.documents import Document
from tests.siege.fleet import Fleet
from tests.soak.calls import Call, Caller, Calls, slug_of
from tests.soak.told import Offer, Told
from tests.soak.traffic import REFUSED, REQUEST, Client
from tests.support.gateway import Answer
from tests.support.node import Account

ONLY_AWAY: Final = frozenset({"store-unavailable", "not-ready"})
"""Problems that a client may get only while the database is away."""

TAKEN_OVER: Final = frozenset({"answered-elsewhere"})
"""What a keyed request may get that the other gateway took over: while the first did not show that
it lives."""

TRIES: Final = 8
"""How often a client repeats what it got no answer to, or was told to repeat."""

AGAIN_S: Final = 0.25
"""How long it waits before."""


class AnyReplica:
    """Makes each call of one of the gateways, as chance has it.

    ``while_still`` counts what was begun and answered while the database stood still, by operation
    and status.
    """

    def __init__(self, fleet: Fleet, callers: Sequence[Caller], told: Told, random: Random) -> None:
        self._fleet = fleet
        self._callers = callers
        self._told = told
        self._random = random
        self.while_still: Counter[tuple[str, int]] = Counter()

    async def __call__(
        self, call: Call, *, account: Account | None = None, **headers: str
    ) -> Answer | None:
        """The answer; None where there was none because that gateway was not there."""
        fleet = self._fleet
        outages, was_away, was_still = fleet.outages, fleet.is_away, fleet.is_still
        caller = self._random.choice(self._callers)
        may_fail = call.may_fail | TAKEN_OVER
        answer = await caller(replace(call, may_fail=may_fail), account=account, **headers)
        if answer is None:
            return None
        is_excused = was_away or outages != fleet.outages
        if not is_excused and slug_of(answer) in ONLY_AWAY:
            self._told.fault(f"{call.op} {call.path}: the database is there, {answer.text[:300]}")
        if was_still and fleet.is_still:
            self.while_still[call.op, answer.status] += 1
        return answer


class Besieged(Client):
    """A client who knows that there are several gateways, and repeats what may be repeated."""

    def __init__(self, calls: Calls, account: Account, told: Told, random: Random) -> None:
        super().__init__(calls, account, told, random)
        self._acts |= {
            self._ask_at_once: 6,
            self._accept_until_known: 12,
            self._execute_until_known: 8,
        }

    def _next_key(self) -> str:
        self._keys += 1
        return f"{self._account.login}-{id(self)}-{self._keys}"

    async def _ask_at_once(self) -> None:
        """One key sent twice at the same time is one offer set."""
        call, key = Call("ask at once", "POST", "/requests", REQUEST), self._next_key()
        answers = await asyncio.gather(*(self._call(call, Idempotency_Key=key) for _ in range(2)))
        found = {
            answer.document["meta"]["uuid"]
            for answer in answers
            if answer is not None and answer.status == 303
        }
        if len(found) > 1:
            self._told.fault(f"one key at once, two offer sets: {sorted(found)}")

    async def _accept_until_known(self) -> None:
        """Accept, and repeat it, anywhere, until it is known what became of it."""
        offer = self._some_offer()
        if offer is None:
            return
        update = {"kind": "uri:enum-value-update", "path": "phase", "value": "ACCEPTED"}
        call = Call("insist", "POST", f"/sessions/{offer.session}", update, REFUSED)
        self._told.touched[offer.session] = offer
        answer = await self._until_known(call)
        if answer is not None and answer.status == 200:
            self._note(offer, answer.document)

    async def _execute_until_known(self) -> None:
        """One key is one session, however often and wherever it is sent; once more at the end."""
        call, key = Call("direct keyed", "POST", "/direct", REQUEST, REFUSED), self._next_key()
        found: set[str] = set()
        for _ in range(2):
            answer = await self._until_known(call, Idempotency_Key=key)
            if answer is None or answer.status != 303:
                continue
            document: Document = answer.document
            session, node = document["meta"]["uuid"], document["federation"]["node"]
            offer = Offer(str(session), str(node), f"direct {key}")
            self._told.touched[offer.session] = offer
            self._note(offer, document)
            found.add(offer.session)
        if len(found) > 1:
            self._told.fault(f"one key, two sessions: {sorted(found)}")

    async def _until_known(self, call: Call, **headers: str) -> Answer | None:
        answer: Answer | None = None
        for _ in range(TRIES):
            answer = await self._call(call, **headers)
            if answer is not None and answer.status < 500:
                return answer
            await asyncio.sleep(AGAIN_S)
        return answer
