"""What the future of a world depends on in which nobody is at anything."""

from gateway.stores.database import to_micros
from tests.model.gateways import SESSIONS
from tests.model.nodes import instant
from tests.model.world import World


def rest_key(world: World) -> tuple[object, ...]:
    """All that the future of an idle world depends on, with the times counted from now.

    Left out is what gateways remember of nodes' speed and failures: it is never what decides an
    acceptance.
    """
    now_s, micros = world.loop.now_s, to_micros(instant(world.loop.now_s))
    commands = world.store.rows(
        "SELECT session, phase, attempts, due - ?, give_up - ? FROM commands ORDER BY session",
        micros,
        micros,
    )
    return (
        tuple(one.seen_from(now_s) for one in world.survey.sessions),
        tuple(one.seen_from(now_s) for one in world.survey.moves),
        tuple(tuple(row) for row in commands),
        tuple(node.state() for node in world.nodes.values()),
        tuple(sorted(message.state() for message in world.messages.values())),
        tuple(sorted(world.waiting)),
        tuple(sorted(world.forgot)),
        tuple((name, round(until_s - now_s, 6)) for name, until_s in world.lost.items()),
        tuple((name, round(until_s - now_s, 6)) for name, until_s in world.asleep.items()),
        _asked(world),
        _listening(world),
    )


def _asked(world: World) -> tuple[object, ...]:
    """What keys belong to and were answered with, and the holds to be let go of."""
    if not world.survey.keys:
        return ()
    sets = world.store.rows("SELECT uuid, is_open FROM offersets ORDER BY uuid")
    unkept = world.store.rows("SELECT uuids, attempts FROM unkept_holds ORDER BY id")
    return (world.survey.keys, tuple(map(tuple, sets)), tuple(map(tuple, unkept)))


def _listening(world: World) -> tuple[object, ...]:
    """For how long gateways have heard that nodes are silent, as far as that counts."""
    if world.survey.resubmit_s is None:
        return ()
    now_s, grace_s = world.loop.now_s, SESSIONS.resubmit_after_s
    return tuple(
        (name, round(min(now_s - gateway.began_s, grace_s), 6))
        for name, gateway in sorted(world.gateways.items())
    )
