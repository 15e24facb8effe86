"""Every behaviour by the name that operators give it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node_stub.misbehave import answer_faults, connection_faults, state_faults
from node_stub.misbehave.stage import Fault


@dataclass(frozen=True, slots=True)
class Entry:
    """A behaviour; ``delay_s`` is its own time where the operator gives none."""

    fault: Fault
    delay_s: float = 0.0

    @property
    def text(self) -> str:
        """What it does, in a line: how the function of the fault describes itself."""
        line = (self.fault.__doc__ or "").partition("\n")[0]
        return f"{line} [{self.delay_s:g} s]" if self.delay_s else line


ENTRIES: Final[Mapping[str, Entry]] = {
    "healthy": Entry(connection_faults.healthy),
    "hung": Entry(connection_faults.hung),
    "hung-mid-body": Entry(connection_faults.hung_mid_body),
    "slow": Entry(connection_faults.slow, 2.0),
    "drip": Entry(connection_faults.drip, 0.05),
    "refuse": Entry(connection_faults.refuse),
    "reset": Entry(connection_faults.reset),
    "closes": Entry(connection_faults.closes),
    "cut": Entry(connection_faults.cut),
    "half-open": Entry(connection_faults.half_open, 600.0),
    "stale-keepalive": Entry(connection_faults.stale_keepalive),
    "flapping": Entry(connection_faults.flapping, 5.0),
    "garbage": Entry(connection_faults.garbage),
    "wrong-length": Entry(connection_faults.wrong_length),
    "desync": Entry(connection_faults.desync),
    "huge": Entry(connection_faults.huge),
    "not-json": Entry(answer_faults.not_json),
    "wrong-type": Entry(answer_faults.wrong_type),
    "web-page": Entry(answer_faults.web_page),
    "redirect-elsewhere": Entry(answer_faults.redirect_elsewhere),
    "redirect-loop": Entry(answer_faults.redirect_loop),
    "error": Entry(answer_faults.error),
    "busy": Entry(answer_faults.busy),
    "stranger": Entry(answer_faults.stranger),
    "no": Entry(answer_faults.no),
    "empty-yes": Entry(answer_faults.empty_yes),
    "liar": Entry(answer_faults.liar),
    "expired": Entry(answer_faults.expired),
    "wrong-kind": Entry(answer_faults.wrong_kind),
    "wrong-phase": Entry(answer_faults.wrong_phase),
    "too-many": Entry(answer_faults.too_many),
    "duplicate-uuid": Entry(answer_faults.duplicate_uuid),
    "clock-skew": Entry(answer_faults.clock_skew, 3600.0),
    "unchanged": Entry(answer_faults.unchanged),
    "overcommit": Entry(state_faults.overcommit),
    "forgetful": Entry(state_faults.forgetful),
    "slow-accept": Entry(state_faults.slow_accept, 2.0),
    "lost-accept": Entry(state_faults.lost_accept),
    "lost-offers": Entry(state_faults.lost_offers),
}
"""By name. What differs by the hour for an operator is first: time and connection."""
