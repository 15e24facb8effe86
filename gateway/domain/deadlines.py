"""How long a node is waited for, and asked a second time, by what its own answers took.

``usual_s`` is always what 19 of 20 answers of a node took at most, of those that came in time
(``LatencyRecord.usual_s``): a node that is silent every other time does not earn itself the whole
deadline by that.
"""

from typing import Final

LIMIT_TIMES: Final = 3
"""A node's own limit in units of its usual time: beyond it nearly nothing comes, and slower load
does not reach it (TCP waits for the mean and four deviations, RFC 6298 §2.3)."""

LIMIT_SLACK_S: Final = 0.1
"""Added to each limit: a lost segment is sent again after some 0.2 s, a busy loop takes 0.05 s."""

SHORTEST_HEDGE_S: Final = 0.005
"""No second try before: a whole exchange on a local network takes a millisecond or two."""


FUTILE: Final = 0.95
"""A node whose mean is this part of the whole wait, or more, is seldom in time: the mean of one
that never answers is the wait itself, less what passed before it was asked."""


def own_limit_s(
    usual_s: float | None, mean_s: float | None, *, wait_s: float, floor_s: float
) -> float | None:
    """Seconds for which the node may hold an answer back that is complete but for it.

    Never below ``floor_s``, and that where waiting for ``wait_s``, as long as the client does,
    brought nothing before. None for a node of which too little is known: to the deadline.
    """
    if usual_s is not None:
        return max(floor_s, LIMIT_TIMES * usual_s + LIMIT_SLACK_S)
    is_futile = mean_s is not None and mean_s >= FUTILE * wait_s
    return floor_s if is_futile else None


def hedge_after_s(usual_s: float | None) -> float | None:
    """Seconds after which the node is asked again on another connection, None for never.

    One in twenty calls gets that far; the tail at scale (Dean and Barroso 2013) waits as long.
    """
    return None if usual_s is None else max(usual_s, SHORTEST_HEDGE_S)


def may_hedge(hedged: int, asked: int, share: float) -> bool:
    """Whether one more of the ``asked`` nodes may be asked a second time for this request.

    ``share`` of them may, and one in any case where it is not zero: when many are slow at once it
    is not the nodes, and more messages make it worse.
    """
    return share > 0 and hedged < max(1, int(asked * share))
