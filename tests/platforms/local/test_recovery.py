"""What becomes of jobs when the broker dies, and of calls that are repeated."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from node_stub.platforms.base import EndReason, JobPhase, PlatformError
from node_stub.platforms.local import supervision
from node_stub.platforms.local.cgroups import prefix_of
from node_stub.platforms.local.process_tree import boot_id, start_time
from node_stub.platforms.local.settings import SandboxChoice
from node_stub.platforms.local.shim_files import RUN_FILE
from node_stub.platforms.runner import RunSpec
from tests.platforms.local.conftest import Benches
from tests.platforms.local.jobs import STUBBORN, Bench
from tests.support.required import required
from tests.support.waiting import until

BROKER = Path(__file__).with_name("dying_broker.py")


@contextlib.contextmanager
def dying_broker(bench: Bench, spec: RunSpec) -> Iterator[None]:
    """Another broker launches the job, and is killed with -9 within."""
    choice, script = bench.setup.choice.value, spec.executable["command"][0]
    argv = [sys.executable, str(BROKER), str(bench.root), choice, str(spec.session), script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as broker:
        assert broker.stdout is not None
        try:
            assert broker.stdout.readline() == b"launched\n"
            yield
        finally:
            broker.kill()


async def test_a_broker_that_comes_back_adopts_a_running_job(bench: Bench) -> None:
    script = "echo started; while ! test -e go; do sleep 0.02; done; echo finished; exit 7"
    spec = bench.spec(script)
    with dying_broker(bench, spec):
        pass
    assert await bench.runner.recover() == [spec.session]
    seen = await bench.look(spec)
    assert (seen.phase, seen.started is not None) == (JobPhase.RUNNING, True)
    (spec.workspace.home / "go").touch()
    await until(lambda: bench.hints == [spec.session])
    seen = await bench.look(spec)
    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 7)
    assert bench.out(spec) == "started\nfinished\n"


async def test_a_job_that_ended_while_there_was_no_broker_is_known(bench: Bench) -> None:
    spec = bench.spec("sleep 0.2; echo alone; exit 7")
    with dying_broker(bench, spec):
        pass
    assert (await bench.end(spec)).exit_code == 7
    assert bench.out(spec) == "alone\n"


async def test_a_broker_that_comes_back_can_stop_a_job(bench: Bench) -> None:
    spec = bench.spec(STUBBORN)
    with dying_broker(bench, spec):
        pass
    await bench.says(spec, "started")
    await until(lambda: len(bench.tree(spec)) >= 5)
    await bench.runner.stop(spec.workspace, grace_s=0.1)
    assert (await bench.end(spec, within_s=5)).reason is EndReason.CANCELLED
    assert not bench.living()


async def test_a_job_launched_twice_runs_once(bench: Bench) -> None:
    spec = bench.spec("echo ran; sleep 0.3")
    await bench.runner.prepare(spec)
    await asyncio.gather(*(bench.runner.launch(spec) for _ in range(4)))
    await bench.runner.launch(spec)
    assert (await bench.end(spec)).reason is EndReason.OK
    await bench.runner.launch(spec)
    assert (await bench.look(spec)).phase is JobPhase.ENDED
    assert bench.out(spec) == "ran\n"


async def test_a_second_shim_leaves_the_job_to_the_first(bench: Bench) -> None:
    spec = bench.spec("echo ran; sleep 0.3")
    await bench.start(spec)
    first = bench.shim(spec)
    orders = {"session": str(spec.session), "groups": []}
    assert supervision.start(spec.workspace.run, orders) is None  # type: ignore[arg-type]
    assert bench.shim(spec) == first
    assert (await bench.end(spec)).reason is EndReason.OK
    assert bench.out(spec) == "ran\n"


async def test_a_launch_cut_short_before_its_shim_began_can_be_repeated(bench: Bench) -> None:
    spec = bench.spec("echo ran")
    await bench.runner.prepare(spec)
    (spec.workspace.run / "launch-0.json").write_text("{}")  # and then the broker died
    assert (await bench.look(spec)).phase is JobPhase.READY
    assert (await bench.run(spec)).reason is EndReason.OK
    assert bench.out(spec) == "ran\n"


async def test_a_shim_that_begins_after_the_release_has_nothing_to_run(bench: Bench) -> None:
    spec = bench.spec("echo ran")
    await bench.runner.prepare(spec)
    await bench.runner.release(spec.workspace)
    with pytest.raises(PlatformError):
        supervision.start(spec.workspace.run, {"session": "", "groups": []})  # type: ignore[typeddict-item]
    with pytest.raises(PlatformError, match="not prepared"):
        await bench.runner.launch(spec)
    assert (await bench.look(spec)).phase is JobPhase.GONE


async def test_a_shim_that_breaks_before_it_began_is_told(bench: Bench) -> None:
    spec = bench.spec("echo ran")
    await bench.runner.prepare(spec)
    with pytest.raises(PlatformError, match="groups"):
        supervision.start(spec.workspace.run, {"session": ""})  # type: ignore[typeddict-item]
    assert (await bench.look(spec)).phase is JobPhase.READY


async def test_a_release_ends_what_runs_and_can_be_repeated(bench: Bench) -> None:
    spec = bench.spec(STUBBORN)
    await bench.start(spec)
    await bench.says(spec, "started")
    await until(lambda: len(bench.tree(spec)) >= 5)
    await bench.runner.release(spec.workspace)
    assert not bench.living()
    assert not bench.setup.groups.paths(spec.session)
    assert (await bench.look(spec)).phase is JobPhase.GONE
    await bench.runner.release(spec.workspace)
    assert (await bench.look(spec)).phase is JobPhase.GONE


async def test_a_workspace_of_nothing_is_gone(bench: Bench) -> None:
    spec = bench.spec("true")
    assert (await bench.look(spec)).phase is JobPhase.GONE
    await bench.runner.stop(spec.workspace, grace_s=1)
    await bench.runner.release(spec.workspace)
    assert (await bench.look(spec)).phase is JobPhase.GONE
    assert list(await bench.runner.recover()) == []


@pytest.mark.parametrize("wrong", [{"boot": "another"}, {"start": 1}], ids=["boot", "start"])
async def test_a_process_that_has_the_number_of_a_shim_is_not_taken_for_it(
    bench: Bench, wrong: dict[str, object]
) -> None:
    spec = bench.spec("true")
    await bench.runner.prepare(spec)
    mine = {"pid": os.getpid(), "start": start_time(os.getpid()), "boot": boot_id()}
    record = {**mine, "started": 0.0, "groups": []}
    run_file = spec.workspace.run / RUN_FILE
    run_file.write_text(json.dumps(record))
    assert (await bench.look(spec)).phase is JobPhase.RUNNING
    await bench.runner.close()
    await bench.runner.open(bench.hints.append)
    run_file.write_text(json.dumps({**record, **wrong}))
    assert (await bench.look(spec)).phase is JobPhase.LOST
    await bench.runner.release(spec.workspace)  # and we are still here


async def test_groups_whose_workspace_is_gone_are_found_and_removed(new_bench: Benches) -> None:
    bench = await new_bench()
    spec = bench.spec("sleep 600")
    await bench.start(spec)
    bench.tree(spec)
    paths = bench.setup.groups.paths(spec.session)
    required("cgroups", bool(paths), "groups left behind")
    os.kill(bench.shim(spec), signal.SIGSTOP)  # so that it cannot clear up itself
    supervision.remove(spec.workspace.run)
    assert await bench.runner.recover() == [spec.session]
    await bench.runner.release(spec.workspace)
    assert not bench.setup.groups.paths(spec.session)
    assert not bench.living()
    os.kill(next(iter(shims_of(spec.session)), os.getpid()), signal.SIGCONT)


async def test_groups_of_other_workspaces_are_let_alone(new_bench: Benches, tmp_path: Path) -> None:
    bench = await new_bench()
    required("cgroups", bool(bench.setup.groups.hierarchies), "groups of others")
    name = f"{prefix_of(tmp_path / 'another')}{uuid4()}"
    group = bench.setup.groups.hierarchies[0].base / name
    group.mkdir()
    try:
        assert list(await bench.runner.recover()) == []
    finally:
        group.rmdir()


def shims_of(session: UUID) -> set[int]:
    """Shims by their command line."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{session}/run/launch-".encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


async def test_nothing_works_on_a_platform_without_a_sandbox(
    tmp_path: Path, new_bench: Benches
) -> None:
    bench = await new_bench(SandboxChoice.PLAIN)
    spec = bench.spec("true")
    await bench.runner.close()
    assert not (await bench.runner.probe()).is_up
    with pytest.raises(PlatformError):
        await bench.runner.prepare(spec)
    await bench.runner.open(bench.hints.append)
    assert (await bench.runner.probe()).is_up
