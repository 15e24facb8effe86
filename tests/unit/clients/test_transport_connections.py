"""Connections between exchanges: used again, never mixed up, and gone when they should be."""

import asyncio
import gc
import random
from contextlib import suppress

import pytest
from aiohttp.resolver import ThreadedResolver

from gateway.clients.exchange import (
    NodeError,
    NodeGarbageError,
    NodeLostError,
    NodeTooLargeError,
    NodeTransport,
    Progress,
    Reply,
)
from gateway.clients.lean.asking import Origin
from gateway.clients.lean.connection import Connection
from gateway.clients.lean.dialling import Dialler
from gateway.clients.lean.names import Names
from gateway.clients.lean.reading import AnswerReader
from gateway.clients.lean.receiving import ReceiveBuffer
from gateway.clients.lean.transport import LeanTransport
from gateway.clients.transport import AiohttpTransport
from gateway.clients.transports import transport_of
from gateway.clients.trust import tls_context
from gateway.settings import TransportSettings, TransportType
from tests.support.raw_server import Line, answering, speaking
from tests.support.transports import MAX_REPLY_BYTES, ask
from tests.support.waiting import until

FIRST = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"


class TwiceSaying:
    """Answers the first request of its first connection, and again without being asked."""

    def __init__(self) -> None:
        self.first: Line | None = None
        self.may_say_more = asyncio.Event()
        self.has_said_more = asyncio.Event()

    async def talk(self, line: Line) -> None:
        """What the server does with a connection."""
        await line.request()
        if line.number > 1:
            await line.say(NEXT)
            await line.request()
        self.first = line
        await line.say(FIRST)
        await self.may_say_more.wait()
        await line.say(POISON)
        self.has_said_more.set()
        await line.request()


@pytest.mark.parametrize("surplus", [POISON, POISON[:1], POISON[:20], b"x"])
async def test_an_answer_with_more_behind_it_ends_its_connection(
    transport: NodeTransport, surplus: bytes
) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(FIRST + surplus if line.number == 1 else NEXT)
        await line.request()

    async with speaking(talk) as server:
        try:
            assert (await ask(transport, server.url)).body == b"first"
        except NodeGarbageError:
            assert isinstance(transport, AiohttpTransport)  # it takes the whole for no answer
        assert (await ask(transport, server.url)).body == b"next"
    assert server.connections == 2


async def test_a_second_answer_on_an_idle_connection_is_not_given_to_the_next_request(
    transport: NodeTransport,
) -> None:
    node = TwiceSaying()
    async with speaking(node.talk) as server:
        await ask(transport, server.url)
        node.may_say_more.set()
        await until(node.has_said_more.is_set)
        await asyncio.sleep(0.01)
        second = await ask(transport, server.url)
    assert second.body == b"next"


async def test_a_second_answer_on_an_idle_connection_ends_it_at_once(lean: NodeTransport) -> None:
    node = TwiceSaying()
    async with speaking(node.talk) as server:
        await ask(lean, server.url)
        node.may_say_more.set()
        await until(lambda: server.ended == 1)


async def test_a_second_answer_not_yet_read_is_not_given_to_the_next_request(
    transport: NodeTransport,
) -> None:
    node = TwiceSaying()
    async with speaking(node.talk) as server:
        await ask(transport, server.url)
        assert node.first is not None
        node.first.writer.write(POISON)  # on its way before the loop can look
        second = await ask(transport, server.url)
    assert second.body == b"next"


async def test_a_node_that_speaks_before_it_is_asked_is_not_listened_to(
    lean: NodeTransport,
) -> None:
    async def talk(line: Line) -> None:
        await line.say(POISON)
        await line.request()
        await line.say(NEXT)

    progress = Progress()
    async with speaking(talk) as server:
        for _ in range(3):
            # Which comes first, the node's word or the request, is up to the scheduler here.
            try:
                reply = await ask(lean, server.url, progress=progress)
            except NodeLostError:
                assert not progress.may_have_acted
            else:
                assert reply.body == b"poison"
    assert server.connections == 3


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_an_answer_before_the_end_of_its_request_ends_the_connection(
    transport: NodeTransport,
) -> None:
    async def talk(line: Line) -> None:
        await line.reader.readuntil(b"\r\n\r\n")
        await line.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.Event().wait()

    async with speaking(talk) as server:
        replies = [await ask(transport, server.url, body=bytes(16 << 20)) for _ in range(2)]
    assert [reply.status for reply in replies] == [413, 413]
    assert server.connections == 2


async def test_many_at_once_each_get_their_own_answer(transport: NodeTransport) -> None:
    chance = random.Random(5)  # the pieces differ, the run does not

    async def talk(line: Line) -> None:
        while True:
            request = await line.request()
            body = request.partition(b"\r\n\r\n")[2]
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            at = sorted(chance.choices(range(len(answer)), k=3))
            await line.say(*(answer[i:j] for i, j in zip([0, *at], [*at, None], strict=True)))

    async def own(url: str, number: int) -> None:
        for turn in range(5):
            body = b"%d of %d " % (turn, number) * number
            assert (await ask(transport, url, body=body, wait_s=10)).body == body

    async with speaking(talk) as server, asyncio.TaskGroup() as group:
        for number in range(1, 41):
            group.create_task(own(server.url, number))
    assert server.connections <= 40


async def test_those_who_leave_take_no_answer_from_others(transport: NodeTransport) -> None:
    chance = random.Random(7)

    async def talk(line: Line) -> None:
        while True:
            body = (await line.request()).partition(b"\r\n\r\n")[2]
            await asyncio.sleep(chance.random() * 0.01)
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def own(url: str, number: int) -> None:
        for turn in range(20):
            body = b"%d of %d" % (turn, number)
            wait_s = chance.choice([0.002, 0.005, 2.0])
            try:
                async with asyncio.timeout(chance.choice([0.003, 2.0])):
                    reply = await ask(transport, url, body=body, wait_s=wait_s)
            except (NodeError, TimeoutError):
                continue
            assert reply.body == body

    async with speaking(talk) as server, asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(own(server.url, number))


@pytest.mark.parametrize("kind", list(TransportType))
async def test_an_idle_connection_is_closed_in_time(kind: TransportType) -> None:
    async with (
        transport_of(TransportSettings(kind, keepalive_s=0.05)) as transport,
        speaking(answering(FIRST, NEXT)) as server,
    ):
        await ask(transport, server.url)
        await until(lambda: server.ended == 1)
        progress = Progress()
        await ask(transport, server.url, progress=progress)
        assert progress.is_fresh


async def test_a_connection_closed_by_the_node_is_not_tried(lean: NodeTransport) -> None:
    async with speaking(answering(FIRST)) as server:
        await ask(lean, server.url)
        await until(lambda: server.ended == 1)
        await ask(lean, server.url)
    assert len(server.requests) == 2


@pytest.mark.parametrize("kind", list(TransportType))
async def test_a_transport_that_is_closed_leaves_nothing_open(kind: TransportType) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        if line.number > 1:
            await line.say(FIRST)
        await line.request()

    async with speaking(talk) as server, asyncio.timeout(5):
        async with transport_of(TransportSettings(kind)) as transport:
            hanging = asyncio.create_task(ask(transport, server.url, wait_s=60))
            await until(lambda: len(server.requests) == 1)
            await ask(transport, server.url)
        await until(lambda: server.ended == 2)
        with pytest.raises(NodeError):
            await hanging


async def test_an_exchange_at_work_when_the_transport_is_closed_is_lost(
    transport: NodeTransport,
) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(FIRST)
        await line.request()
        await line.request()

    async with speaking(talk) as server:
        await ask(transport, server.url)
        hanging = asyncio.create_task(ask(transport, server.url, wait_s=60))
        await until(lambda: len(server.requests) == 2)
        assert isinstance(transport, LeanTransport | AiohttpTransport)
        await transport.__aexit__(None, None, None)
        with pytest.raises((NodeError, RuntimeError)):
            await hanging


async def test_a_slow_answer_is_given_up_at_its_own_time(lean: NodeTransport) -> None:
    """The timer of a connection outlives an exchange: it must not end the next one early."""

    async def talk(line: Line) -> None:
        await line.request()
        await line.say(FIRST)
        await line.request()
        until_then = asyncio.get_running_loop().time() + 0.1  # beyond the time of the first
        await until(lambda: asyncio.get_running_loop().time() >= until_then)
        await line.say(NEXT)
        await line.request()

    async with speaking(talk) as server:
        await ask(lean, server.url, wait_s=0.07)
        reply = await ask(lean, server.url, wait_s=2)
    assert reply.body == b"next"
    assert server.connections == 1


async def test_a_node_that_had_begun_to_answer_is_not_asked_again(lean: NodeTransport) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(FIRST)
        await line.request()
        await line.say(NEXT[:10])

    async with speaking(talk) as server:
        await ask(lean, server.url)
        with pytest.raises(NodeLostError):
            await ask(lean, server.url)
    assert len(server.requests) == 2


async def test_a_stale_connection_is_replaced_by_a_new_one(lean: NodeTransport) -> None:
    """Where a node was started anew, all that is kept is stale."""

    async def talk(line: Line) -> None:
        await line.request()
        await both.wait()
        await line.say(FIRST)
        if line.number < 3:
            await line.request()

    both = asyncio.Barrier(2)
    async with speaking(talk) as server:
        await asyncio.gather(ask(lean, server.url), ask(lean, server.url))
        progress = Progress()
        both = asyncio.Barrier(1)
        await ask(lean, server.url, progress=progress)
    assert progress.is_fresh
    assert server.connections == 3
    assert len(server.requests) == 4


@pytest.mark.parametrize("said", [b"", NEXT[:20], NEXT[:-1]], ids=["nothing", "head", "body"])
async def test_who_leaves_ends_the_connection(transport: NodeTransport, said: bytes) -> None:
    async def talk(line: Line) -> None:
        await line.request()
        await line.say(said)
        await line.request()

    async with speaking(talk) as server:
        leaving = asyncio.create_task(ask(transport, server.url, wait_s=60))
        await until(lambda: len(server.requests) == 1)
        leaving.cancel()
        await asyncio.wait([leaving])
        await until(lambda: server.ended == 1)


async def test_who_leaves_at_the_last_moment_does_not_end_what_comes_after() -> None:
    """The answer is there, the connection used again, and only then the first caller wakes up."""

    class Keeper:
        """Uses a connection again as soon as it is free."""

        def admit(self, connection: Connection) -> None:
            """Nothing to do."""

        def forget(self, connection: Connection) -> None:
            """Nothing to do."""

        def take_back(self, connection: Connection) -> float:
            """Let the first caller leave, and the second begin."""
            if not tasks[1:]:
                tasks[0].cancel()
                tasks.append(asyncio.create_task(exchange(connection)))
            return loop.time() + 5

    async def exchange(connection: Connection) -> Reply:
        request = b"GET / HTTP/1.1\r\n\r\n"
        reader = AnswerReader("GET", MAX_REPLY_BYTES)
        return await connection.exchange(request, reader, Progress(), loop.time() + 5)

    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[Reply]] = []
    async with speaking(answering(FIRST, NEXT)) as server:
        origin = Origin(is_tls=False, host="127.0.0.1", port=int(server.url.rpartition(":")[2]))
        names = Names(ThreadedResolver(), 60)
        dialler = Dialler(names, tls_context(None))
        connection = await dialler.dial(origin, Keeper(), loop.time() + 2)
        tasks.append(asyncio.create_task(exchange(connection)))
        await asyncio.wait(tasks)
        assert tasks[0].cancelled()
        assert (await tasks[1]).body == b"next"
        connection.abort()


def test_what_one_connection_received_never_reaches_another() -> None:
    """No event loop interleaves the two calls; one that did must find nothing."""
    buffer, one, other = ReceiveBuffer(), object(), object()
    buffer.lend(one)[:3] = b"one"
    assert buffer.take(other, 3) is None
    assert buffer.take(one, 3) == b"one"
    buffer.lend(one)
    buffer.lend(other)[:5] = b"other"
    assert buffer.take(one, 3) is None
    assert buffer.take(other, 5) == b"other"


async def test_an_answer_that_is_refused_leaves_nothing_behind(lean: NodeTransport) -> None:
    """Not even until the next look for garbage: that comes seldom, and answers are large."""
    promised = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{MAX_REPLY_BYTES:x}\r\n"

    async def talk(line: Line) -> None:
        await line.request()
        await line.say(promised.encode() + bytes(MAX_REPLY_BYTES) + b"\r\n1\r\n0\r\n")
        await line.request()

    def readers() -> int:
        return sum(isinstance(one, AnswerReader) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        async with speaking(talk) as server:
            for _ in range(20):
                with suppress(NodeTooLargeError):
                    await ask(lean, server.url)
                    pytest.fail("it was read")
            await until(lambda: server.ended == 20)
        assert readers() <= 1
    finally:
        gc.enable()


async def test_who_leaves_while_a_connection_is_opened_does_not_keep_the_transport_open(
    transport: NodeTransport,
) -> None:
    async with speaking(answering(FIRST)) as server:
        for turns in range(12):
            leaving = asyncio.create_task(ask(transport, server.url, wait_s=60))
            for _ in range(turns):
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
        await until(lambda: server.ended == server.connections)
