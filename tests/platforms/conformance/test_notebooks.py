"""A notebook that cannot be run: the same wherever notebooks run.

The simulated platform has none that could be bad: it looks at no file.
"""

import pytest

from node_stub.platforms.base import EndReason
from tests.platforms.conformance.adapters import parameters
from tests.platforms.conformance.behaviours import Behaviour
from tests.platforms.conformance.driving import RefusedError
from tests.platforms.conformance.stage import Stage

pytestmark = pytest.mark.parametrize(
    "kit", parameters("local-notebook", "docker", "podman"), indirect=True
)


async def test_a_file_that_is_no_notebook_fails_the_job(stage: Stage) -> None:
    seen, _ = await stage.ended(Behaviour.HAS_A_BAD_NOTEBOOK)

    assert seen.reason in (EndReason.IMAGE, EndReason.NONZERO)
    assert seen.exit_code != 0


async def test_a_notebook_that_is_nowhere_fails_the_job_before_it_runs(stage: Stage) -> None:
    try:
        seen, _ = await stage.ended(Behaviour.HAS_NO_NOTEBOOK)
    except RefusedError:
        return  # it was looked for already
    assert seen.reason is EndReason.IMAGE
    assert seen.started is None
