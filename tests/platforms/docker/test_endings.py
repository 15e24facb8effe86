"""How containers end, and what is said of it."""

import time

import pytest

from node_stub.platforms.base import EndReason, JobPhase, JobRefusedError, Stream
from tests.platforms.docker.bench import Bench
from tests.support.waiting import until


async def test_a_program_that_succeeds_ends_ok(bench: Bench) -> None:
    spec = bench.spec("sh", "-c", "echo out; echo err >&2")
    seen = await bench.run(spec)
    assert (seen.phase, seen.reason, seen.exit_code) == (JobPhase.ENDED, EndReason.OK, 0)
    assert bench.log(spec) == b"out\n"
    assert bench.log(spec, Stream.STDERR) == b"err\n"
    assert seen.started is not None
    assert seen.ended is not None
    assert seen.started <= seen.ended


async def test_an_exit_code_is_told(bench: Bench) -> None:
    seen = await bench.run(bench.spec("sh", "-c", "exit 3"))
    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 3)


async def test_what_a_job_took_is_measured(bench: Bench) -> None:
    seen = await bench.run(
        bench.spec("sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
    )
    assert seen.usage is not None
    assert seen.usage.cpu_s is not None
    assert 0.1 < seen.usage.cpu_s < 20
    assert seen.usage.peak_memory_bytes is not None
    assert 100_000 < seen.usage.peak_memory_bytes < 200 << 20


@pytest.mark.parametrize("command", ["/no/such/program", "no-such-program", "/etc/passwd"])
async def test_a_program_that_cannot_be_started_is_told_as_such(bench: Bench, command: str) -> None:
    spec = bench.spec(command)
    await bench.ready(spec)
    if bench.engine.name == "podman":
        with pytest.raises(JobRefusedError) as refused:
            await bench.runner.launch(spec)
        assert refused.value.reason is EndReason.LAUNCH
    else:
        await bench.runner.launch(spec)
    seen = await bench.end(spec)
    if command == "/etc/passwd" and bench.engine.name == "docker":
        assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 126)
    else:
        assert seen.reason is EndReason.LAUNCH


async def test_a_program_of_an_init_that_is_missing_is_not_needed(bench: Bench) -> None:
    spec = bench.spec("true")
    await bench.run(spec)
    assert bool(bench.inspect(spec)["HostConfig"].get("Init")) is (bench.engine.name == "docker")


async def test_too_much_memory_is_told_as_such(bench: Bench) -> None:
    spec = bench.spec("dd", "if=/dev/zero", "of=/dev/null", "bs=1500M", "count=1")
    seen = await bench.run(spec)
    assert (seen.reason, seen.exit_code) == (EndReason.OOM, 137)


async def test_a_stop_is_a_cancellation_whatever_the_exit_code(bench: Bench) -> None:
    spec = bench.spec(
        "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    )
    await bench.start(spec)
    await bench.has_written(spec, "up")
    await bench.runner.stop(spec.workspace, 10.0)
    seen = await bench.end(spec)
    assert (seen.reason, seen.exit_code) == (EndReason.CANCELLED, 0)
    assert bench.log(spec) == b"up\nbye\n"


async def test_a_stubborn_program_is_ended_after_the_grace(bench: Bench) -> None:
    spec = bench.spec(
        "sh", "-c", "trap '' TERM; (setsid sleep 777 &); echo up; while :; do sleep 0.1; done"
    )
    await bench.start(spec)
    await bench.has_written(spec, "up")
    began = time.monotonic()
    await bench.runner.stop(spec.workspace, 1.0)
    assert time.monotonic() - began < 1.0, "stop returns at once"
    assert (await bench.look(spec)).phase is JobPhase.STOPPING
    seen = await bench.end(spec)
    assert seen.reason is EndReason.CANCELLED
    assert 1.0 <= time.monotonic() - began < 15.0


async def test_an_end_before_the_stop_is_no_cancellation(bench: Bench) -> None:
    spec = bench.spec("sh", "-c", "echo up; exit 4")
    await bench.start(spec)
    await until(lambda: bench.inspect(spec)["State"]["Status"] == "exited", 20.0)
    await bench.runner.stop(spec.workspace, 1.0)
    seen = await bench.end(spec)
    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 4)


async def test_a_job_that_never_ran_is_cancelled_at_once(bench: Bench) -> None:
    spec = bench.spec("true")
    await bench.ready(spec)
    await bench.runner.stop(spec.workspace, 1.0)
    seen = await bench.look(spec)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.CANCELLED)
    await bench.runner.launch(spec)
    assert not [name for name in bench.containers() if str(spec.session) in name]


async def test_a_container_that_somebody_removed_is_lost(bench: Bench) -> None:
    spec = bench.spec("sleep", "100")
    await bench.start(spec)
    await bench.becomes(spec, JobPhase.RUNNING)
    bench.engine.call("DELETE", f"/containers/eb-{spec.session}", force="true")
    assert (await bench.end(spec)).phase is JobPhase.LOST


async def test_an_end_is_hinted_at(bench: Bench) -> None:
    spec = bench.spec("true")
    await bench.start(spec)
    bench.hints.clear()
    await until(lambda: spec.session in bench.hints, 20.0)
