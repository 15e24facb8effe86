"""Every parser fuzzed for a moment; ``make fuzz`` takes longer."""

import importlib.util
from pathlib import Path

import pytest

from tests.fuzz import forgetful
from tests.fuzz.campaign import fuzz
from tests.fuzz.target import module_of, names
from tests.support.required import required

SECONDS = 1
"""For each; with its start it takes some three."""

SEED = 5
"""Always the same mutations: what is new is for ``make fuzz`` to find."""

LONG_ENOUGH_S = 60
"""For a bug that a fuzzer finds in a second; it stops there."""


@pytest.fixture(autouse=True)
def fuzzer() -> None:
    found = importlib.util.find_spec("atheris") is not None
    required("atheris", found, "parsers are not fuzzed: atheris is not made for this platform")


@pytest.mark.parametrize("name", names())
def test_a_moment_of_fuzzing_breaks_no_promise(name: str, tmp_path: Path) -> None:
    outcome = fuzz(name, module_of(name), SECONDS, tmp_path, seed=SEED)
    assert outcome.finding is None, f"{outcome.log}\n\n{outcome.as_test()}"
    assert outcome.executions
    assert outcome.coverage


def test_a_broken_promise_is_found_and_printed_as_a_test(tmp_path: Path) -> None:
    outcome = fuzz("forgetful", forgetful.__name__, LONG_ENOUGH_S, tmp_path, seed=SEED)
    assert outcome.finding is not None
    with pytest.raises(AssertionError):
        forgetful.run(outcome.finding)
    assert "AssertionError" in outcome.log
    assert f"forgetful.run({outcome.finding!r})" in outcome.as_test()
