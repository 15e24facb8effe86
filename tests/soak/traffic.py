"""Clients who do everything that a client can do, sensible and not, as chance has it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final
from uuid import UUID

from gateway.wire.documents import Document
from tests.soak.calls import Call, Calls
from tests.soak.told import Offer, Told
from tests.soak.world import NODES
from tests.support.gateway import Answer
from tests.support.node import Account
from tests.support.requests import minimal_request

PAUSE_S: Final = 0.02
"""Mean time that a client thinks; eight of them keep a gateway of one core half busy."""

AWAY_S: Final = 0.1
"""What a client waits when the gateway is not there."""

REMEMBERED: Final = 30
"""Offer sets that a client still acts on."""

REFUSED: Final = frozenset({"update-refused", "node-refused", "accept-pending"})
STRICT: Final = {"Prefer": "handling=strict"}
REQUEST: Final = minimal_request(schedule={"requested": {"duration": "PT2S"}})
"""Short, so that what is booked for later is over soon, too."""

BAD: Final[tuple[tuple[str, str, Any, str], ...]] = (
    ("POST", "/requests", {"compute": 4}, "invalid-document"),
    ("POST", "/requests", {"executable": {"kind": 5}}, "invalid-document"),
    ("POST", "/requests", [1, 2], "invalid-document"),
    ("POST", "/requests?limit=0", REQUEST, "invalid-query"),
    ("POST", "/requests?nodes=nowhere", REQUEST, "unknown-node"),
    ("POST", "/requests?policy=none", REQUEST, "unknown-policy"),
    ("GET", f"/sessions/{UUID(int=1)}", None, "unknown-session"),
    ("GET", f"/offersets/{UUID(int=1)}", None, "unknown-offerset"),
    ("GET", "/sessions/no-uuid", None, "malformed-request"),
    ("GET", "/nowhere", None, "not-found"),
    ("DELETE", "/requests", None, "method-not-allowed"),
)
"""What no gateway should do, and the problem that says so."""


class Client:
    """One client, as one person, who does one thing after the other."""

    def __init__(self, caller: Calls, account: Account, told: Told, random: Random) -> None:
        self._caller = caller
        self._account = account
        self._told = told
        self._random = random
        self._sets: deque[list[Offer]] = deque(maxlen=REMEMBERED)
        self._mine: deque[Offer] = deque(maxlen=REMEMBERED)
        self._keys = 0
        self._acts: dict[Callable[[], Awaitable[None]], int] = {
            self._ask: 30,
            self._ask_twice: 8,
            self._accept: 24,
            self._accept_two: 6,
            self._accept_falling: 4,
            self._cancel: 6,
            self._reject: 6,
            self._read: 12,
            self._read_offerset: 6,
            self._do_badly: 6,
            self._execute_directly: 6,
            self._look_around: 3,
        }
        """What it does, and how often in relation to the rest."""

    async def live(self, ended: asyncio.Event) -> None:
        """Act until the end."""
        acts, weights = list(self._acts), list(self._acts.values())
        while not ended.is_set():
            (act,) = self._random.choices(acts, weights)
            await act()
            await asyncio.sleep(self._random.expovariate(1 / PAUSE_S))

    async def _call(self, call: Call, **headers: str) -> Answer | None:
        answer = await self._caller(call, account=self._account, **headers)
        if answer is None:
            await asyncio.sleep(AWAY_S)
        return answer

    async def _ask(self) -> None:
        """Ask for offers, and remember them."""
        query = self._random.choice(("", "", "?per_node=1", "?min_offers=2", "?policy=cheapest"))
        call = Call("ask", "POST", f"/requests{query}", REQUEST)
        answer = await self._call(call)
        if answer is None or answer.status != 303:
            return
        document: Document = answer.document
        coverage = [entry["node"] for entry in document["federation"]["coverage"]]
        if len(set(coverage)) != len(coverage) or not set(NODES) <= set(coverage):
            self._told.fault(f"coverage names {coverage}")
        uuid = str(document["meta"]["uuid"])
        offers = [
            Offer(str(offer["meta"]["uuid"]), str(offer["federation"]["node"]), uuid)
            for offer in document.get("offers", ())
        ]
        if offers:
            self._sets.append(offers)

    async def _ask_twice(self) -> None:
        """The same request with the same key is the same offer set."""
        self._keys += 1
        key = f"{self._account.login}-{id(self)}-{self._keys}"
        call = Call("ask again", "POST", "/requests", REQUEST)
        first = await self._call(call, Idempotency_Key=key)
        second = await self._call(call, Idempotency_Key=key)
        if first is None or second is None or {first.status, second.status} != {303}:
            return
        uuids = {answer.document["meta"]["uuid"] for answer in (first, second)}
        if len(uuids) > 1:
            self._told.fault(f"one key, two offer sets: {sorted(uuids)}")

    def _some_offer(self) -> Offer | None:
        return self._random.choice(self._random.choice(self._sets)) if self._sets else None

    async def _accept(self) -> None:
        if offer := self._some_offer():
            await self._move("accept", offer, "ACCEPTED")

    async def _accept_two(self) -> None:
        """Two of one set at the same time: one of them at most is to be had."""
        if not self._sets:
            return
        offers = self._random.choice(self._sets)
        chosen = self._random.sample(offers, min(2, len(offers)))
        async with asyncio.TaskGroup() as group:
            for offer in chosen:
                group.create_task(self._move("accept", offer, "ACCEPTED"))

    async def _accept_falling(self) -> None:
        """This one, or the next best."""
        if offer := self._some_offer():
            await self._move("accept", offer, "ACCEPTED", "?fall_through=3")

    async def _cancel(self) -> None:
        if self._mine:
            await self._move("cancel", self._random.choice(self._mine), "CANCELLED")

    async def _reject(self) -> None:
        if offer := self._some_offer():
            await self._move("reject", offer, "REJECTED")

    async def _move(self, op: str, offer: Offer, phase: str, query: str = "") -> None:
        update = {"kind": "uri:enum-value-update", "path": "phase", "value": phase}
        path = f"/sessions/{offer.session}{query}"
        headers = STRICT if self._random.random() < 0.5 else {}
        self._told.touched[offer.session] = offer
        answer = await self._call(Call(op, "POST", path, update, REFUSED), **headers)
        if answer is not None and answer.status == 200:
            self._note(offer, answer.document)

    def _note(self, offer: Offer, document: Document) -> None:
        """Remember what a session's document says. It may be of another offer of the same set."""
        shown = Offer(
            str(document["meta"]["uuid"]), str(document["federation"]["node"]), offer.offerset
        )
        before = len(self._told.accepted)
        self._told.note_phase(shown, document["phase"])
        if len(self._told.accepted) > before:
            self._mine.append(shown)

    async def _read(self) -> None:
        offer = self._random.choice(self._mine) if self._mine else self._some_offer()
        if offer is None:
            return
        answer = await self._call(Call("read", "GET", f"/sessions/{offer.session}"))
        if answer is not None and answer.status == 200:
            self._note(offer, answer.document)

    async def _read_offerset(self) -> None:
        if offer := self._some_offer():
            await self._call(Call("read set", "GET", f"/offersets/{offer.offerset}"))

    async def _do_badly(self) -> None:
        method, path, document, slug = self._random.choice(BAD)
        await self._call(Call("bad", method, path, document, frozenset({slug}), must_fail=True))

    async def _execute_directly(self) -> None:
        call = Call("direct", "POST", "/direct", REQUEST, REFUSED)
        answer = await self._call(call)
        if answer is None or answer.status != 303:
            return
        document = answer.document
        session, node = document["meta"]["uuid"], document["federation"]["node"]
        offer = Offer(str(session), str(node), f"direct {session}")
        self._told.touched[offer.session] = offer
        self._note(offer, document)

    async def _look_around(self) -> None:
        path = self._random.choice(("/nodes", "/reasons", "/readyz", "/metrics"))
        await self._call(Call("look", "GET", path, may_fail=frozenset({"not-ready"})))
