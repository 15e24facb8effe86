"""Faults over a session's life: what was said once is not kept to, or not told."""

import asyncio
from typing import Final

from gateway.wire.phases import SessionPhase
from node_stub.misbehave.broker import phase_wanted
from node_stub.misbehave.documents import problem_reply
from node_stub.misbehave.exchange import Asked
from node_stub.misbehave.stage import Stage

_NO_ROOM: Final = "the resources of this offer were given to somebody else"


async def overcommit(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Offers what it does not have: each acceptance is refused with 409 and the offer is gone."""
    uuid = stage.broker.session_of(asked)
    if uuid is None or phase_wanted(asked) is not SessionPhase.ACCEPTED:
        await stage.answer_well(asked, writer)
        return
    stage.broker.drop(uuid)
    writer.write(problem_reply("409 Conflict", _NO_ROOM))


async def forgetful(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Accepts, and knows nothing of the session when it is asked again."""
    await stage.answer_well(asked, writer)
    uuid = stage.broker.session_of(asked)
    if uuid is not None and stage.broker.session(uuid)["phase"] != SessionPhase.OFFERED:
        stage.broker.forget(uuid)


async def slow_accept(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Accepts after its delay, whether the client still waits or not; all else is at once."""
    if phase_wanted(asked) is SessionPhase.ACCEPTED:
        await asyncio.sleep(stage.delay_s)
    await stage.answer_well(asked, writer)


async def lost_accept(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Does what each update asks for, and closes the connection in place of the answer."""
    reply = stage.broker.answer(asked)
    if phase_wanted(asked) is None:
        writer.write(reply)
    else:
        writer.close()


async def lost_offers(stage: Stage, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Holds what each question asks for, and closes the connection in place of the answer."""
    reply = stage.broker.answer(asked)
    if asked.is_question:
        writer.close()
    else:
        writer.write(reply)
