"""What clients were told: the promises that the gateway is held to at the end."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from gateway.wire.phases import EXECUTION_PHASES, SessionPhase

TAKEN: Final = frozenset(phase.value for phase in (*EXECUTION_PHASES, SessionPhase.COMPLETED))
"""Phases that say that an acceptance was granted."""

MAX_BROKEN: Final = 50
"""Faults that are written down; more of them say nothing more."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer as a client has it."""

    session: str
    node: str
    offerset: str


@dataclass(slots=True)
class Told:
    """All that matters of all answers.

    ``accepted`` are the sessions that a client was told it has, ``touched`` those that it asked to
    be changed in any way, ``counts`` all answers by operation and outcome, ``ask_s`` what requests
    for offers took while the gateway lived, less its and our waiting for a processor.
    """

    accepted: dict[str, Offer] = field(default_factory=dict)
    touched: dict[str, Offer] = field(default_factory=dict)
    accepted_of: dict[str, str] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    ask_s: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Write down what should not have been."""
        if len(self.broken) < MAX_BROKEN:
            self.broken.append(text)

    def note_phase(self, offer: Offer, phase: str) -> None:
        """A client reads that its session is in this phase."""
        if phase not in TAKEN:
            return
        self.accepted[offer.session] = offer
        first = self.accepted_of.setdefault(offer.offerset, offer.session)
        if first != offer.session:
            self.fault(f"offer set {offer.offerset}: both {first} and {offer.session} are accepted")
