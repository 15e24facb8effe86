"""How jobs end that do not end by themselves, or take more than they may."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from node_stub.clock import SteadyClock
from node_stub.platforms.base import EndReason, JobPhase
from node_stub.platforms.local.process_tree import tasks_of
from node_stub.platforms.local.settings import SandboxChoice
from node_stub.platforms.local.shim_files import EXIT_FILE
from tests.platforms.local.conftest import Benches
from tests.platforms.local.jobs import STUBBORN, Bench
from tests.support.required import required
from tests.support.waiting import until

FOREVER = "echo started; sleep 600"


async def test_a_job_is_stopped_when_asked_to(bench: Bench) -> None:
    spec = bench.spec(FOREVER)
    await bench.start(spec)
    await bench.says(spec, "started")
    assert (await bench.look(spec)).phase is JobPhase.RUNNING
    await bench.runner.stop(spec.workspace, grace_s=30)
    seen = await bench.end(spec, within_s=5)
    assert (seen.phase, seen.reason, seen.exit_code) == (JobPhase.ENDED, EndReason.CANCELLED, 143)


async def test_a_job_that_cleans_up_first_is_given_the_time(bench: Bench) -> None:
    script = "trap 'sleep 0.3; echo bye; exit 0' TERM; echo started; sleep 600 & wait"
    spec = bench.spec(script)
    await bench.start(spec)
    await bench.says(spec, "started")
    await bench.runner.stop(spec.workspace, grace_s=30)
    assert (await bench.look(spec)).phase is JobPhase.STOPPING
    seen = await bench.end(spec, within_s=5)
    assert (seen.reason, seen.exit_code) == (EndReason.CANCELLED, 0)
    assert bench.out(spec) == "started\nbye\n"


async def test_a_stubborn_tree_is_ended_by_force(bench: Bench) -> None:
    spec = bench.spec(STUBBORN)
    await bench.start(spec)
    await bench.says(spec, "started")
    await until(lambda: len(bench.tree(spec)) >= 5)
    await bench.runner.stop(spec.workspace, grace_s=0.3)
    seen = await bench.end(spec, within_s=10)
    assert (seen.reason, seen.exit_code) == (EndReason.CANCELLED, 137)
    assert not bench.living()


async def test_a_shorter_grace_counts_when_stopped_again(bench: Bench) -> None:
    spec = bench.spec("trap '' TERM; " + FOREVER)
    await bench.start(spec)
    await bench.says(spec, "started")
    await bench.runner.stop(spec.workspace, grace_s=600)
    await bench.runner.stop(spec.workspace, grace_s=0)
    assert (await bench.end(spec, within_s=5)).reason is EndReason.CANCELLED


async def test_what_a_job_leaves_in_the_background_ends_with_it(bench: Bench) -> None:
    spec = bench.spec("sh -c 'sleep 777 & setsid sleep 778 &' ; echo started; sleep 0.3")
    await bench.start(spec)
    await bench.says(spec, "started")
    await until(lambda: len(bench.tree(spec)) >= 3)
    assert (await bench.end(spec, within_s=5)).reason is EndReason.OK
    assert not bench.living()


async def test_a_job_stopped_before_its_launch_never_runs(bench: Bench) -> None:
    spec = bench.spec("echo ran")
    await bench.runner.prepare(spec)
    assert (await bench.look(spec)).phase is JobPhase.READY
    await bench.runner.stop(spec.workspace, grace_s=1)
    assert (await bench.look(spec)).reason is EndReason.CANCELLED
    await bench.runner.launch(spec)
    seen = await bench.look(spec)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.CANCELLED)
    assert bench.out(spec) == ""


async def test_an_end_before_the_stop_stays_what_it_was(bench: Bench) -> None:
    spec = bench.spec("exit 0")
    await bench.run(spec)
    await bench.runner.stop(spec.workspace, grace_s=0)
    assert (await bench.look(spec)).reason is EndReason.OK


async def test_a_job_over_its_time_is_ended_without_a_broker(new_bench: Benches) -> None:
    bench = await new_bench(backstop_s=0.3, grace_s=0.2)
    end_at = datetime.now(UTC) + timedelta(seconds=0.5)
    spec = bench.spec("trap '' TERM; " + FOREVER, end_at=end_at)
    await bench.start(spec)
    await bench.says(spec, "started")
    bench.tree(spec)
    exit_file = spec.workspace.run / EXIT_FILE
    await until(exit_file.exists, within_s=10)
    ended = json.loads(exit_file.read_text())
    assert ended["reason"] == EndReason.TIMEOUT
    assert ended["ended"] >= end_at.timestamp() + 0.3
    assert not bench.living()


@pytest.mark.parametrize("hours", [-1, 1], ids=["behind", "ahead"])
async def test_a_job_has_the_time_promised_by_a_clock_that_is_not_the_machines(
    new_bench: Benches, hours: int
) -> None:
    shift = timedelta(hours=hours)
    clock = SteadyClock(lambda: datetime.now(UTC) + shift)
    shift = timedelta()
    bench = await new_bench(backstop_s=0.3, grace_s=0.2, clock=clock)
    began = datetime.now(UTC).timestamp()
    spec = bench.spec(FOREVER, end_at=clock.now() + timedelta(seconds=0.5))
    await bench.start(spec)
    exit_file = spec.workspace.run / EXIT_FILE
    await until(exit_file.exists, within_s=10)
    ended = json.loads(exit_file.read_text())
    assert ended["reason"] == EndReason.TIMEOUT
    # The clock comes nearer by a hundredth of the time that passes.
    assert ended["ended"] >= began + 0.75


async def test_a_job_ended_by_the_machine_is_not_said_to_be_cancelled(bench: Bench) -> None:
    spec = bench.spec(FOREVER)
    await bench.start(spec)
    await bench.says(spec, "started")
    os.kill(bench.shim(spec), signal.SIGTERM)
    assert (await bench.end(spec, within_s=5)).reason is EndReason.NODE


async def test_a_shim_that_is_killed_takes_its_job_with_it(bench: Bench) -> None:
    # With neither sandbox nor groups, processes are told by a mark that they may take off.
    is_bare = bench.setup.is_plain and not bench.setup.groups.hierarchies
    spec = bench.spec(STUBBORN.replace("env -i ", "") if is_bare else STUBBORN)
    await bench.start(spec)
    await bench.says(spec, "started")
    await until(lambda: len(bench.tree(spec)) >= 5)
    os.kill(bench.shim(spec), signal.SIGKILL)
    seen = await bench.end(spec, within_s=5)
    assert seen.phase is JobPhase.LOST
    assert not bench.living()


@pytest.mark.parametrize("choice", [SandboxChoice.BUBBLEWRAP, SandboxChoice.NAMESPACES], ids=str)
async def test_a_sandbox_ends_with_its_shim_without_anybody_looking(
    choice: SandboxChoice, new_bench: Benches
) -> None:
    bench = await new_bench(choice)
    spec = bench.spec(STUBBORN)
    await bench.start(spec)
    await bench.says(spec, "started")
    await until(lambda: len(bench.tree(spec)) >= 5)
    os.kill(bench.shim(spec), signal.SIGKILL)
    await until(lambda: not bench.living())


async def test_a_job_that_needs_too_much_memory_is_ended(bench: Bench) -> None:
    required("cgroups", "memory" in bench.setup.groups.where, "a limit of memory")
    spec = bench.spec("head -c 3G /dev/zero | tail; exit $?")
    seen = await bench.run(spec, within_s=60)
    assert (seen.reason, seen.exit_code) == (EndReason.OOM, 137)
    assert seen.usage is not None
    assert seen.usage.peak_memory_bytes is not None
    assert seen.usage.peak_memory_bytes <= 1024**3


async def test_a_job_without_control_groups_cannot_have_more_memory(new_bench: Benches) -> None:
    bench = await new_bench(cgroup="/no/such/group")
    assert not bench.setup.groups.hierarchies
    spec = bench.spec("ulimit -v; head -c 3G /dev/zero | tail; exit $?")
    seen = await bench.run(spec, within_s=60)
    assert seen.exit_code not in {0, None}
    assert bench.out(spec) == f"{1024 * 1024}\n"


async def test_two_busy_processes_share_one_core(bench: Bench) -> None:
    busy = "timeout 1 sh -c 'while :; do :; done'"
    spec = bench.spec(f"{busy} & {busy}; wait")
    seen = await bench.run(spec)
    assert seen.usage is not None
    assert seen.usage.cpu_s is not None
    assert seen.usage.cpu_s < 1.5  # two of them would take 2 s on two cores


@pytest.mark.parametrize("choice", list(SandboxChoice)[1:], ids=str)
async def test_a_fork_bomb_stays_small_and_is_ended(
    choice: SandboxChoice, new_bench: Benches
) -> None:
    bench = await new_bench(choice, processes=40)
    # Root is bound by no resource limit on processes, and by control groups only.
    is_grouped = "pids" in bench.setup.groups.where
    required("cgroups", is_grouped or os.geteuid() != 0, "a limit of processes")
    spec = bench.spec("bomb() { echo started; bomb | bomb & }; ( bomb ) & exec sleep 600")
    await bench.start(spec)
    await bench.says(spec, "started")
    for _ in range(20):
        # A resource limit counts whatever else the user runs: 40 more than there were before.
        assert len(bench.tree(spec)) <= (40 if is_grouped else 40 + tasks_of(os.geteuid()))
    await until(lambda: "fork" in bench.err(spec))
    await bench.runner.stop(spec.workspace, grace_s=0)
    assert (await bench.end(spec, within_s=20)).reason is EndReason.CANCELLED
    assert not bench.living()


async def test_a_file_larger_than_the_storage_cannot_be_written(bench: Bench) -> None:
    spec = bench.spec("exec dd if=/dev/zero of=big bs=1M seek=1100 count=1")
    seen = await bench.run(spec)
    assert (seen.reason, seen.exit_code) == (EndReason.STORAGE, 128 + signal.SIGXFSZ)


async def test_no_core_is_dumped(bench: Bench) -> None:
    spec = bench.spec("ulimit -c; ulimit -Hc")
    await bench.run(spec)
    assert bench.out(spec) == "0\n0\n"
