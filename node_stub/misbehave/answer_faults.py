"""Faults of what is said: proper HTTP whose content is wrong. Health is answered well."""

import asyncio
from collections.abc import Callable, Iterable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Final, TypeAlias

from gateway.wire.documents import Document, to_json
from gateway.wire.times import format_instant
from node_stub.misbehave.documents import (
    offer_document,
    offerset_document,
    problem_reply,
    refusal_document,
)
from node_stub.misbehave.exchange import Asked, http_reply
from node_stub.misbehave.stage import Stage

LIES: Final = 99
"""Offers of the liar: an answer as long as this is odd, but small enough to be read."""

TOO_MANY: Final = 500
"""More offers than anybody would compare, and twice what our gateway looks at."""

RETRY_AFTER_S: Final = 2

Lie: TypeAlias = Callable[[Document], None]
"""Changes an offer for the worse."""


async def no(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Says NO to every question, properly and with its reason."""
    document = refusal_document("no capacity")
    await _to_question(stage, asked, writer, http_reply(to_json(document)))


async def empty_yes(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Says YES to every question and offers nothing."""
    document = offerset_document([]) | {"result": "YES"}
    await _to_question(stage, asked, writer, http_reply(to_json(document)))


async def error(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Fails with 500 and a problem, whatever is asked."""
    reply = problem_reply("500 Internal Server Error", "this node has a defect")
    await _unless_health(stage, asked, writer, reply)


async def busy(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers 503 and asks to come again in two seconds."""
    wish = f"Retry-After: {RETRY_AFTER_S}\r\n"
    reply = problem_reply("503 Service Unavailable", "this node has too much to do", wish)
    await _unless_health(stage, asked, writer, reply)


async def stranger(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Refuses every name and password with 401."""
    reply = problem_reply("401 Unauthorized", "who are you?")
    await _unless_health(stage, asked, writer, reply)


async def not_json(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers with a body that claims to be JSON and is none."""
    await _unless_health(stage, asked, writer, http_reply(b"{\xff\xfe garbage"))


async def wrong_type(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers with JSON that is a list in place of an object."""
    await _unless_health(stage, asked, writer, http_reply(b"[1, 2, 3]"))


async def web_page(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Answers with a web page, as a proxy in front of it may."""
    reply = http_reply(b"<html>log in</html>", status="200 OK", content_type="text/html")
    await _unless_health(stage, asked, writer, reply)


async def redirect_elsewhere(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Redirects every request to another server (192.0.2.1, where there is none)."""
    reply = http_reply(b"", headers="Location: http://192.0.2.1/offersets/1\r\n")
    await _unless_health(stage, asked, writer, reply)


async def redirect_loop(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Redirects every request to itself, for ever."""
    reply = http_reply(b"", headers=f"Location: {asked.origin}/offersets/1\r\n")
    await _unless_health(stage, asked, writer, reply)


async def liar(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Makes 99 offers, most of which break the request or a client; accepts none, and says 200."""
    if not asked.is_question:
        await unchanged(stage, asked, writer)
        return
    document = deepcopy(stage.broker.offerset(asked, offers=LIES))
    for offer, lie in zip(document["offers"], islice(cycle(LIES_TOLD), LIES), strict=True):
        lie(offer)
    writer.write(stage.broker.reply_with(asked, document))


async def expired(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Makes offers that have expired already."""
    await _with_lie(stage, asked, writer, has_expired)


async def wrong_kind(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Makes offers of a kind that nobody knows."""
    await _with_lie(stage, asked, writer, is_of_no_kind)


async def wrong_phase(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Makes offers in a phase that nobody knows."""
    await _with_lie(stage, asked, writer, is_in_no_phase)


async def too_many(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Makes 500 good offers in each answer."""
    if asked.is_question:
        document = stage.broker.offerset(asked, offers=TOO_MANY)
        writer.write(stage.broker.reply_with(asked, document))
    else:
        await stage.answer_well(asked, writer)


async def duplicate_uuid(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Gives all its offers one UUID, the same in each answer."""
    if asked.is_question:
        document = stage.broker.offerset(asked, uuid=stage.uuid)
        writer.write(stage.broker.reply_with(asked, document))
    else:
        await stage.answer_well(asked, writer)


async def clock_skew(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Writes its times ahead by its delay in one answer, behind by it in the next."""
    if not asked.is_question:
        await stage.answer_well(asked, writer)
        return
    stage.answers += 1
    shift = timedelta(seconds=stage.delay_s if stage.answers % 2 else -stage.delay_s)
    writer.write(stage.broker.reply_with(asked, stage.broker.offerset(asked, shift=shift)))


async def unchanged(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Offers well, and answers each update 200 with the session as it was."""
    uuid = stage.broker.session_of(asked)
    if uuid is None or asked.method == "GET":
        await stage.answer_well(asked, writer)
    else:
        writer.write(http_reply(to_json(stage.broker.session(uuid)), status="200 OK"))


def is_too_small(offer: Document) -> None:
    """Less than any request asks for."""
    offer["compute"]["cores"] = {"min": 0, "max": 0}


def has_expired(offer: Document) -> None:
    """Held until a minute ago."""
    offer["expires"] = format_instant(datetime.now(UTC) - timedelta(minutes=1))


def is_of_no_kind(offer: Document) -> None:
    """Not of a kind that clients know."""
    offer["kind"] = "urn:example:another-session"


def is_in_no_phase(offer: Document) -> None:
    """In a phase that breaks clients."""
    offer["phase"] = "READY"


def runs_already(offer: Document) -> None:
    """Not on offer at all."""
    offer["phase"] = "RUNNING"


def counts_in_words(offer: Document) -> None:
    """A number that is none."""
    offer["compute"]["memory"] = {"min": "two", "max": "two"}


def knows_no_zone(offer: Document) -> None:
    """A time that might be any of many."""
    offer["expires"] = "2099-01-01T00:00:00"


def has_no_name(offer: Document) -> None:
    """A UUID that is none, so that its hold cannot be let go."""
    offer["meta"]["uuid"] = "offer-1"


def looks_good(offer: Document) -> None:
    """Nothing is wrong with it, until it is accepted."""
    del offer


LIES_TOLD: Final[tuple[Lie, ...]] = (
    is_too_small,
    has_expired,
    is_of_no_kind,
    is_in_no_phase,
    runs_already,
    counts_in_words,
    knows_no_zone,
    has_no_name,
    looks_good,
)
"""What the liar's offers have wrong with them, in turn."""


def with_lies(lies: Iterable[Lie], good: int = 0) -> bytes:
    """An answer with one offer for each lie, beside so many good ones."""
    offers = [offer_document() for _ in range(good)]
    for lie in lies:
        offer = offer_document()
        lie(offer)
        offers.append(offer)
    return http_reply(to_json(offerset_document(offers)))


async def _with_lie(stage: Stage, asked: Asked, writer: asyncio.StreamWriter, lie: Lie) -> None:
    if not asked.is_question:
        await stage.answer_well(asked, writer)
        return
    document = deepcopy(stage.broker.offerset(asked))
    for offer in document["offers"]:
        lie(offer)
    writer.write(stage.broker.reply_with(asked, document))


async def _to_question(
    stage: Stage, asked: Asked, writer: asyncio.StreamWriter, reply: bytes
) -> None:
    if asked.is_question:
        writer.write(reply)
    else:
        await stage.answer_well(asked, writer)


async def _unless_health(
    stage: Stage, asked: Asked, writer: asyncio.StreamWriter, reply: bytes
) -> None:
    if asked.is_health:
        await stage.answer_well(asked, writer)
    else:
        writer.write(reply)
