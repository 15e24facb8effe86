"""A ranking as people like to see it: the clauses, the policy, the nearest, another policy."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from gateway.cli.ranking_summary import (
    CandidateSummary,
    ClauseSummary,
    Difference,
    ExplanationSummary,
    MoveSummary,
    PlacedNode,
    RejectedSummary,
    ReplaySummary,
    RuleSummary,
    WorthSummary,
    advantages,
    incomparable,
    moved_by,
    nearest_of,
)
from gateway.cli.render import (
    NOTHING,
    UNKNOWN,
    human_bytes,
    human_moved,
    human_proximity,
    human_seconds,
    human_staging,
    plain_table,
    safe,
)

_SHOWN: Final = 3
"""Quantities that are named for each offer: the rest is small beside them."""

_SMALL: Final = 0.0005
"""Differences of scores below this are none in three digits."""

_TIMES: Final = frozenset({"begin", "staging"})
"""The quantities in which the distance of the data counts."""

_LAST: Final = 1_000_000
"""The rank of what is not handed out."""

_LESS: Final = "less_is_better"
_MEASURED: Final = "measured"
_ANSWERED: Final = "answered"


def show_explanation(to: Console, explanation: ExplanationSummary) -> None:
    """Who passed what, what counted how much, and what became of the others."""
    tables = [clauses_table(explanation)]
    if explanation.candidates:
        tables += [policy_table(explanation), scores_table(explanation)]
    if explanation.placements:
        tables.append(placements_table(explanation.placements))
    if explanation.rejected:
        tables.append(rejected_table(explanation.rejected))
    for table in tables:
        to.print()
        to.print(table)
    to.print()
    for line in nearest_lines(explanation):
        to.print(safe(line))


def clauses_table(explanation: ExplanationSummary) -> Table:
    """Each clause of the request: how many offers and nodes pass it, and who does not.

    The first is to make an offer: what those say that do not is in the table of who was asked.
    """
    table = plain_table("Who passes what")
    table.add_column("clause", no_wrap=True)
    table.add_column("wanted", overflow="fold")
    for name in ("offers\npass", "may\nfail", "fail", "nodes\npass"):
        table.add_column(name, justify="right")
    table.add_column("who does not", overflow="fold")
    coverage = explanation.coverage
    silent = [f"{one.node} ({one.outcome})" for one in coverage if one.outcome != _ANSWERED]
    answered = len(coverage) - len(silent)
    came = str(len(explanation.candidates) + len(explanation.rejected))
    shares = f"{answered} of {len(coverage)}"
    table.add_row(
        "offer", "an offer at all", came, "0", "0", shares, safe(", ".join(silent) or NOTHING)
    )
    for clause in explanation.clauses:
        if clause.nodes:
            table.add_row(*map(safe, _clause_row(clause)))
    return table


def _clause_row(clause: ClauseSummary) -> list[str]:
    offers, nodes = clause.offers, clause.nodes
    return [
        clause.name,
        clause.wanted,
        *(str(count) for count in (offers.passed, offers.unsure, offers.failed)),
        f"{sum(tally.passed > 0 for tally in nodes.values())} of {len(nodes)}",
        _who_does_not(clause),
    ]


def _who_does_not(clause: ClauseSummary) -> str:
    parts: list[str] = []
    for node, tally in clause.nodes.items():
        total = tally.passed + tally.unsure + tally.failed
        if tally.failed:
            parts.append(f"{node} ({tally.failed} of {total})")
        if tally.unsure:
            parts.append(f"{node}? ({tally.unsure} of {total})")
    return ", ".join(parts) or NOTHING


def policy_table(explanation: ExplanationSummary) -> Table:
    """What the policy counts, of how many offers it is known, and who is best in it."""
    policy = explanation.policy
    table = plain_table(f"What the policy {policy.name} counts")
    table.add_column("quantity", no_wrap=True)
    table.add_column("weight", justify="right")
    table.add_column("one half at", justify="right")
    for name in ("known", "bound", "unknown"):
        table.add_column(name, justify="right")
    table.add_column("unknown of", overflow="fold")
    table.add_column("best", justify="right")
    table.add_column("of", overflow="fold")
    for rule in policy.rules:
        if rule.weight:
            table.add_row(*map(safe, _rule_row(rule, explanation.candidates)))
    return table


def _rule_row(rule: RuleSummary, candidates: Sequence[CandidateSummary]) -> list[str]:
    found = [
        (one.node, worth)
        for one in candidates
        for worth in one.worths
        if worth.quantity == rule.quantity
    ]
    bases = [worth.basis for _, worth in found]
    known = bases.count(_MEASURED)
    bound = bases.count("bound")
    unknown = sorted({node for node, worth in found if worth.basis == "unknown"})
    best, of = _best(rule, found)
    is_share = rule.direction == "share"
    return [
        rule.quantity,
        f"{rule.weight:g}",
        NOTHING if is_share or rule.reference is None else _amount(rule.reference, rule.unit),
        str(known),
        str(bound),
        str(len(found) - known - bound),
        ", ".join(unknown) or NOTHING,
        best,
        of,
    ]


def _best(rule: RuleSummary, found: Iterable[tuple[str, WorthSummary]]) -> tuple[str, str]:
    known = [
        (worth.value, node)
        for node, worth in found
        if worth.basis == _MEASURED and worth.value is not None
    ]
    if not known:
        return NOTHING, NOTHING
    values = [value for value, _ in known]
    best = min(values) if rule.direction == _LESS else max(values)
    nodes = sorted({node for value, node in known if value == best})
    is_shared = len({node for _, node in known}) == len(nodes) > 1
    return _amount(best, rule.unit), "all" if is_shared else ", ".join(nodes)


def _amount(value: float, unit: str) -> str:
    if unit == "s":
        return human_seconds(value)
    return f"{value:.4g} {unit}"


def scores_table(explanation: ExplanationSummary) -> Table:
    """What each quantity adds to the score of each offer; ``?`` where it is not measured."""
    weights = {name: weight for name, weight in explanation.policy.weights.items() if weight}
    table = plain_table("What each score is made of")
    table.add_column("#", justify="right")
    table.add_column("node")
    table.add_column("score", justify="right")
    for name in weights:
        table.add_column(name.replace("_", "\n"), justify="right")
    for one in explanation.candidates:
        parts = one.parts(weights)
        doubts = {worth.quantity for worth in one.worths if worth.basis != _MEASURED}
        cells = [
            f"{parts[name]:.3f}{'?' if name in doubts else ''}" if name in parts else NOTHING
            for name in weights
        ]
        table.add_row(_rank(one.rank), safe(one.node), f"{one.score:.3f}", *cells)
    return table


def nearest_lines(explanation: ExplanationSummary) -> list[str]:
    """Whether the nearest offer wins, and by what; nothing where nobody is nearer than others."""
    candidates, weights = explanation.candidates, explanation.policy.weights
    nearest = nearest_of(candidates)
    if nearest is None:
        return []
    first = candidates[0]
    if nearest.offer != first.offer:
        gap, parts = advantages(weights, first, nearest)
        gained = -_sooner(parts)
        return [
            f"The nearest does not win: {_how_far(nearest)} is {gap:.3f} behind {_how_far(first)}: "
            f"{differences_shown(parts)}. Beginning sooner gives it {max(gained, 0):.3f}."
        ]
    lines = []
    for other in _farther(nearest, candidates):
        gap, parts = advantages(weights, nearest, other)
        decides = "decides" if _sooner(parts) >= gap else "alone would not decide"
        lines.append(
            f"The nearest wins: {_how_far(nearest)} is {gap:.3f} ahead of {_how_far(other)}: "
            f"{differences_shown(parts)}. Beginning sooner {decides}."
        )
    return lines


def _farther(
    nearest: CandidateSummary, candidates: Sequence[CandidateSummary]
) -> list[CandidateSummary]:
    """The best offer of each of the next nodes whose data are farther away."""
    found: dict[str, CandidateSummary] = {}
    for one in candidates:
        if one.placement is not None and one.placement != nearest.placement:
            found.setdefault(one.node, one)
    return list(found.values())[:_SHOWN]


def _sooner(parts: Sequence[Difference]) -> float:
    """What the time until the work begins makes of a difference."""
    return sum(part.change for part in parts if part.quantity in _TIMES)


def _how_far(one: CandidateSummary) -> str:
    staging = UNKNOWN if one.placement is None else human_staging(one.placement)
    return f"{one.node} (staging {staging})"


def placements_table(placements: Sequence[PlacedNode]) -> Table:
    """What the data mean for each node that was asked."""
    table = plain_table("Where the data are, as seen from each node")
    table.add_column("node")
    for name in ("in all", "there", "to move", "staging", "proximity"):
        table.add_column(name, justify="right")
    table.add_column("basis")
    table.add_column("age", justify="right")
    has_sources = any(one.sources for one in placements)
    if has_sources:
        table.add_column("from", overflow="fold")
    for one in placements:
        sources = ", ".join(f"{place} {human_bytes(size)}" for place, size in one.sources.items())
        table.add_row(
            safe(one.node),
            _bytes(one.bytes_total),
            _bytes(one.bytes_local),
            human_moved(one.placement),
            human_staging(one.placement),
            human_proximity(one.placement),
            safe(one.placement.basis),
            NOTHING if one.age_s is None else human_seconds(one.age_s),
            *([safe(sources or NOTHING)] if has_sources else []),
        )
    return table


def _bytes(count: float | None) -> str:
    return UNKNOWN if count is None else human_bytes(count)


def rejected_table(rejected: Sequence[RejectedSummary]) -> Table:
    """Offers that came and do not meet the request; those of a node that lack the same together."""
    table = plain_table("Offers that do not meet the request")
    table.add_column("node")
    table.add_column("offers", justify="right")
    table.add_column("reasons", overflow="fold")
    alike = Counter((one.node, one.reasons) for one in rejected)
    for (node, reasons), count in alike.items():
        table.add_row(safe(node), str(count), safe("\n".join(reasons) or NOTHING))
    return table


def show_replay(to: Console, explanation: ExplanationSummary, replay: ReplaySummary) -> None:
    """The order under another policy, beside the order that was given out."""
    name, was = replay.policy.name, replay.was
    verdict = "the order stays as it is" if replay.is_same else "the order changes"
    to.print(safe(f"Offer set {replay.offerset}, {name} instead of {was}: {verdict}"))
    to.print(replay_table(explanation, replay))
    for quantity in incomparable(explanation.policy, replay.policy):
        to.print(safe(f"  {quantity} is held against other values than before and left out here"))


def replay_table(explanation: ExplanationSummary, replay: ReplaySummary) -> Table:
    """Old and new rank and score of each offer, and what moves it compared with the others."""
    scores = {one.offer: one.score for one in explanation.candidates}
    moved = moved_by(explanation, replay)
    table = plain_table(f"Ranked as {replay.policy.name}")
    table.add_column("#", justify="right")
    table.add_column("was", justify="right")
    table.add_column("")
    table.add_column("node")
    table.add_column("offer", no_wrap=True)
    table.add_column("score", justify="right")
    table.add_column("was", justify="right")
    table.add_column("moved by (against the average offer)", overflow="fold")
    for move in replay.moves:
        before = scores.get(move.offer)
        table.add_row(
            _rank(move.rank),
            _rank(move.was_rank),
            _direction(move),
            safe(move.node),
            safe(move.offer[:8]),
            f"{move.score:.3f}",
            NOTHING if before is None else f"{before:.3f}",
            safe(differences_shown(moved.get(move.offer, []))),
        )
    return table


def differences_shown(differences: Sequence[Difference]) -> str:
    """The largest, with their signs: ``begin +0.076, carbon -0.031``."""
    shown = [one for one in differences[:_SHOWN] if abs(one.change) >= _SMALL]
    return ", ".join(f"{one.quantity} {one.change:+.3f}" for one in shown) or "nothing"


def _rank(rank: int | None) -> str:
    return NOTHING if rank is None else str(rank)


def _direction(move: MoveSummary) -> str:
    """Where it goes; an offer without rank is behind all others."""
    before, after = move.was_rank or _LAST, move.rank or _LAST
    if before == after:
        return "="
    return "up" if after < before else "down"
