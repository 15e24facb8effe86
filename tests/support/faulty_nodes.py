"""Node brokers on loopback, each named for its fault, and a healthy one to stand beside them.

They are real servers, speaking bytes: what a transport makes of them is part of the test. The
faults are those of ``execbroker-node misbehave``; here they run in the process of the test.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gateway.wire.documents import Document, to_json
from node_stub.misbehave import (
    answer_faults,
    connection_faults,
    documents,
    exchange,
    mixing,
    serving,
)
from node_stub.misbehave.broker import MemoryBroker
from node_stub.misbehave.stage import Fault, Stage

HEALTHY_OFFERS: Final = 4
"""Offers in each answer of the healthy node."""

Asked: TypeAlias = exchange.Asked
Behaviour: TypeAlias = exchange.Behaviour

http_reply: Final = exchange.http_reply
offer_document: Final = documents.offer_document
offerset_document: Final = documents.offerset_document


@dataclass(slots=True)
class FaultyNode:
    """A running node: where it is, and all that it was asked so far."""

    url: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def connections(self) -> int:
        """How many connections brought a request."""
        return sum(asked.turn == 1 for asked in self.asked)


@asynccontextmanager
async def running(behaviour: Behaviour) -> AsyncIterator[FaultyNode]:
    """A node that behaves so, on a free port, until the block ends."""
    asked: list[Asked] = []
    async with serving.serving(behaviour, on_asked=asked.append) as url:
        yield FaultyNode(url, asked)


@contextmanager
def refuses() -> Iterator[FaultyNode]:
    """A port that is taken and not listened on: every connection is refused."""
    with serving.refusing() as url:
        yield FaultyNode(url)


def faulty(fault: Fault, *, delay_s: float = 0.0, offers: int = HEALTHY_OFFERS) -> Behaviour:
    """A node with this fault, that knows no idempotency keys."""
    return mixing.behaving(fault, Stage(MemoryBroker(offers, honours_keys=False), delay_s))


def healthy_answer(offers: int = HEALTHY_OFFERS) -> bytes:
    """The body of a good answer with fresh UUIDs."""
    return to_json(offerset_document([offer_document() for _ in range(offers)]))


def healthy(offers: int = HEALTHY_OFFERS) -> Behaviour:
    """Answers at once, with so many good offers."""
    return faulty(connection_faults.healthy, offers=offers)


def honours_idempotency(offers: int = HEALTHY_OFFERS) -> Behaviour:
    """Gives the same answer to the same key, and says so by repeating the key."""
    return mixing.behaving(connection_faults.healthy, Stage(MemoryBroker(offers)))


def says_no(text: str = "no capacity") -> Behaviour:
    """A proper refusal."""
    return _says(http_reply(to_json(documents.refusal_document(text))))


def _says(reply: bytes) -> Behaviour:
    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        writer.write(reply)

    return behave


def drips(interval_s: float = 1.0) -> Behaviour:
    """A good answer, one byte at a time; its head is short, so that it comes to its body."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        await connection_faults.trickle(writer, http_reply(healthy_answer()), interval_s)

    return behave


def answers_late(delay_s: float, offers: int = HEALTHY_OFFERS) -> Behaviour:
    """A good answer, after so long."""
    return faulty(connection_faults.slow, delay_s=delay_s, offers=offers)


def answers_status(status: str, body: bytes = b"") -> Behaviour:
    """Fails, in proper HTTP."""
    return _says(http_reply(body, status=status))


says_yes_without_offers: Final = faulty(answer_faults.empty_yes)
hangs_before_headers: Final = faulty(connection_faults.hung)
hangs_mid_body: Final = faulty(connection_faults.hung_mid_body)
closes_before_headers: Final = faulty(connection_faults.closes)
closes_mid_body: Final = faulty(connection_faults.cut)
speaks_no_http: Final = faulty(connection_faults.garbage)
answers_500: Final = faulty(answer_faults.error)
refuses_credentials: Final = faulty(answer_faults.stranger)
answers_garbage: Final = faulty(answer_faults.not_json)
answers_wrong_type: Final = faulty(answer_faults.wrong_type)
wrong_content_type: Final = faulty(answer_faults.web_page)
redirects_elsewhere: Final = faulty(answer_faults.redirect_elsewhere)


def answers_unchanged_to_accept() -> Behaviour:
    """Offers once, and answers every update of an offer 200 with the session as it was."""
    return faulty(answer_faults.unchanged, offers=1)


async def redirects_home(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Redirects to itself and leaves the document out; answers it there."""
    if asked.method == "POST":
        writer.write(http_reply(b"", headers="Location: /offersets/1\r\n"))
    else:
        writer.write(http_reply(healthy_answer(), status="200 OK"))


def closes_first(then: Behaviour) -> Behaviour:
    """Closes on the first request without a word, and behaves from the second on."""
    is_first = True

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            writer.close()
        else:
            await then(asked, writer)

    return behave


def closes_idle_on_use(then: Behaviour) -> Behaviour:
    """Answers once on each connection and closes it when it is used again."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.turn > 1:
            writer.close()
        else:
            await then(asked, writer)

    return behave


def huge_body(size: int = 64 << 20, *, says_length: bool = True) -> Behaviour:
    """An answer of so many bytes; without a length it comes in chunks."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        await connection_faults.pour(writer, size, says_length=says_length)

    return behave


def _with_lie(lie: Callable[[Document], None], good: int) -> Behaviour:
    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        writer.write(answer_faults.with_lies([lie], good))

    return behave


def answers_unknown_kind(good: int = 0) -> Behaviour:
    """An offer of a session kind that breaks clients, beside so many good ones."""
    return _with_lie(answer_faults.is_of_no_kind, good)


def answers_bad_phase(good: int = 0) -> Behaviour:
    """An offer in a phase that breaks clients, beside so many good ones."""
    return _with_lie(answer_faults.is_in_no_phase, good)


def doubles_an_offer() -> Behaviour:
    """The same offer twice in one answer."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        del asked
        offer = offer_document()
        writer.write(http_reply(to_json(offerset_document([offer, offer]))))

    return behave
