"""Policies: those that are built in, and those of the settings."""

import pytest

from gateway.domain.policies import (
    DEFAULT_POLICY,
    POLICIES,
    PolicyError,
    policies_from_settings,
)
from gateway.domain.quantities import Quantity


def test_the_built_in_policies_are_there_and_each_weighs_a_hundred() -> None:
    assert set(POLICIES) == {
        *("balanced", "soonest", "nearest", "cheapest", "greenest", "fastest", "largest"),
    }
    assert DEFAULT_POLICY in POLICIES
    for policy in POLICIES.values():
        assert sum(policy.weights.values()) == 100
        assert set(policy.yardsticks) == set(Quantity)


def test_settings_add_and_replace_policies_in_their_units() -> None:
    made = policies_from_settings(
        {
            "patient": {
                "weights": {"begin": 1, "carbon": 9},
                "references": {"begin": 86_400, "carbon": 0.5},
                "priors": {"track_record": 0.5},
            },
            "balanced": {"weights": {"begin": 1}},
        }
    )
    assert made["soonest"] == POLICIES["soonest"]
    assert made["balanced"].weights == {Quantity.BEGIN: 1}
    patient = made["patient"]
    assert patient.weight(Quantity.CARBON) == 9
    assert patient.weight(Quantity.CORES) == 0
    assert patient.yardsticks[Quantity.BEGIN].reference == 86_400_000
    assert patient.yardsticks[Quantity.CARBON].reference == 500_000
    assert patient.yardsticks[Quantity.TRACK_RECORD].prior == 500_000
    assert patient.yardsticks[Quantity.CORES] == POLICIES["balanced"].yardsticks[Quantity.CORES]


def test_everything_wrong_with_the_settings_is_said_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        policies_from_settings(
            {
                "odd": {
                    "weights": {"begin": 0, "colour": 5, "cores": 1.5, "memory": -1},
                    "references": {"begin": 0},
                    "priors": {"track_record": 2, "carbon": True},
                    "mood": 1,
                },
                "flat": {"weights": [1, 2]},
            }
        )
    assert caught.value.faults == (
        "policy odd: mood is not a member",
        "policy odd: weights has colour, which is no quantity",
        "policy odd: weights of memory is no number from 0 to 1e9",
        "policy odd: priors of carbon is no number from 0 to 1e9",
        "policy odd: the weight of cores is not a whole number",
        "policy odd: the reference of begin must be more than nothing",
        "policy odd: the prior of track_record is a share and cannot be above 1",
        "policy flat: weights is no mapping of quantities to numbers",
        "policy flat: nothing has a weight",
    )
