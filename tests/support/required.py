"""Components that a test needs and that may be missing: never passed over in silence.

`EB_REQUIRE` in the environment lists, with commas, what must be there (`local,notebook,docker`):
what it names and is missing fails the tests that need it. Anything else that is missing skips them
with a reason that says what was not run.
"""

import os
from typing import Final

import pytest

VARIABLE: Final = "EB_REQUIRE"
"""The environment variable that says what must not be missing."""


def is_required(name: str) -> bool:
    """Whether a missing component of this name is a failure."""
    return name in {item.strip() for item in os.environ.get(VARIABLE, "").split(",")}


def required(name: str, found: bool, why: str) -> None:
    """Go on if the component was found; otherwise end the test.

    Parameters
    ----------
    name
        The component as `EB_REQUIRE` lists it.
    why
        What is missing, and so what is not run.

    Raises
    ------
    pytest.fail.Exception
        It is missing and required.
    pytest.skip.Exception
        It is missing and may be.
    """
    if found:
        return
    if is_required(name):
        pytest.fail(f"{name} is required and missing: {why}")
    pytest.skip(f"not run without {name}: {why}")
