"""Policies: what counts how much when offers are ranked, and against which reference values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.domain.quantities import SCALES, Direction, Quantity
from gateway.domain.track_record import PRIOR_SHARE

DEFAULT_POLICY: Final = "balanced"
"""The policy where neither the client nor the settings name one."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What one quantity is held against, both in parts of its unit.

    A value of ``reference`` is worth one half. ``prior`` is what an unknown value counts as.
    """

    reference: int
    prior: int


YARDSTICKS: Final[Mapping[Quantity, Yardstick]] = {
    # An hour is what people wait for without changing their plans. Who does not say when it starts
    # is taken to start in a day.
    Quantity.BEGIN: Yardstick(3_600_000, 86_400_000),
    Quantity.STAGING: Yardstick(3_600_000, 10_800_000),
    # The three demonstration sites of the upstream project lie on both sides of these.
    Quantity.MONETARY: Yardstick(1_000_000, 3_000_000),
    Quantity.CARBON: Yardstick(20_000_000, 60_000_000),
    Quantity.ENERGY: Yardstick(100_000, 300_000),
    Quantity.PERFORMANCE: Yardstick(150_000_000, 50_000_000),
    Quantity.CORES: Yardstick(6, 2),
    Quantity.MEMORY: Yardstick(12, 4),
    Quantity.TRACK_RECORD: Yardstick(1, PRIOR_SHARE),
}
"""The yardsticks where settings give no others. Unknown costs and sizes are worth one quarter."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A named set of weights, whole numbers of any sum; quantities without one do not count."""

    name: str
    weights: Mapping[Quantity, int]
    yardsticks: Mapping[Quantity, Yardstick]

    def weight(self, quantity: Quantity) -> int:
        """How much the quantity counts."""
        return self.weights.get(quantity, 0)


_Q = Quantity

_WEIGHTS: Final[Mapping[str, Mapping[Quantity, int]]] = {
    "balanced": {
        _Q.BEGIN: 40,
        _Q.MONETARY: 15,
        _Q.CARBON: 10,
        _Q.ENERGY: 5,
        _Q.PERFORMANCE: 15,
        _Q.CORES: 4,
        _Q.MEMORY: 4,
        _Q.TRACK_RECORD: 7,
    },
    "soonest": {_Q.BEGIN: 85, _Q.MONETARY: 5, _Q.PERFORMANCE: 5, _Q.TRACK_RECORD: 5},
    "nearest": {
        _Q.STAGING: 60,
        _Q.BEGIN: 25,
        _Q.MONETARY: 5,
        _Q.PERFORMANCE: 5,
        _Q.TRACK_RECORD: 5,
    },
    "cheapest": {_Q.MONETARY: 80, _Q.BEGIN: 10, _Q.CARBON: 5, _Q.TRACK_RECORD: 5},
    "greenest": {_Q.CARBON: 60, _Q.ENERGY: 25, _Q.BEGIN: 10, _Q.TRACK_RECORD: 5},
    "fastest": {_Q.PERFORMANCE: 75, _Q.BEGIN: 15, _Q.CORES: 5, _Q.TRACK_RECORD: 5},
    "largest": {_Q.CORES: 45, _Q.MEMORY: 40, _Q.BEGIN: 10, _Q.TRACK_RECORD: 5},
}

POLICIES: Final[Mapping[str, Policy]] = {
    name: Policy(name, weights, YARDSTICKS) for name, weights in _WEIGHTS.items()
}
"""The policies that are always there. Only ``nearest`` counts moving data for its own sake; in the
others it matters by when the work can begin, so that far data cost no more than the time they take.
"""


class PolicyError(ValueError):
    """Settings that make no policy; ``faults`` says everything that is wrong with them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def policies_from_settings(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Policy]:
    """The built-in policies with those of the settings, which may replace them.

    Each is ``{weights: {quantity: whole number}, references: {…}, priors: {…}}``; references and
    priors are in the quantity's unit and optional.

    Raises
    ------
    PolicyError
        Some policy is not understood.
    """
    faults: list[str] = []
    made = {name: _read(name, given, faults) for name, given in settings.items()}
    if faults:
        raise PolicyError(faults)
    return {**POLICIES, **made}


def _read(name: str, given: Mapping[str, Any], faults: list[str]) -> Policy:
    where = f"policy {name}"
    faults.extend(
        f"{where}: {member} is not a member"
        for member in given
        if member not in {"weights", "references", "priors"}
    )
    weights = _numbers(where, given, "weights", faults)
    references = _numbers(where, given, "references", faults)
    priors = _numbers(where, given, "priors", faults)
    for quantity, weight in weights.items():
        if not isinstance(weight, int):
            faults.append(f"{where}: the weight of {quantity} is not a whole number")
    if not any(weights.values()):
        faults.append(f"{where}: nothing has a weight")
    yardsticks = {
        quantity: _yardstick(where, quantity, references, priors, faults) for quantity in Quantity
    }
    return Policy(name, {q: int(w) for q, w in weights.items()}, yardsticks)


def _numbers(
    where: str, given: Mapping[str, Any], member: str, faults: list[str]
) -> dict[Quantity, float]:
    numbers: dict[Quantity, float] = {}
    asked = given.get(member, {})
    if not isinstance(asked, Mapping):
        faults.append(f"{where}: {member} is no mapping of quantities to numbers")
        return numbers
    for name, value in asked.items():
        if name not in {quantity.value for quantity in Quantity}:
            faults.append(f"{where}: {member} has {name}, which is no quantity")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
            faults.append(f"{where}: {member} of {name} is no number from 0 to 1e9")
        else:
            numbers[Quantity(name)] = value
    return numbers


def _yardstick(
    where: str,
    quantity: Quantity,
    references: Mapping[Quantity, float],
    priors: Mapping[Quantity, float],
    faults: list[str],
) -> Yardstick:
    scale, usual = SCALES[quantity], YARDSTICKS[quantity]
    reference, prior = usual.reference, usual.prior
    if quantity in references:
        reference = round(references[quantity] * scale.parts)
    if quantity in priors:
        prior = round(priors[quantity] * scale.parts)
    if reference <= 0:
        faults.append(f"{where}: the reference of {quantity} must be more than nothing")
    if scale.direction is Direction.SHARE and prior > scale.parts:
        faults.append(f"{where}: the prior of {quantity} is a share and cannot be above 1")
    return Yardstick(reference, prior)
