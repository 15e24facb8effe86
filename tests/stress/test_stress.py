"""A hundred sessions through the gateway: none lost, none run twice, nothing left."""

from pathlib import Path

import pytest

from tests.stress.run import stress
from tests.support.required import is_required


@pytest.mark.xdist_group("stress")
async def test_a_hundred_sessions_all_run_once_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await stress(100, 5, tmp_path)

    with capsys.disabled():
        print()
        for line in result.lines():
            print(line)
    assert result.is_good
    platforms = {cost.node.platform for cost in result.costs}
    assert "docker" in platforms or not is_required("docker")
