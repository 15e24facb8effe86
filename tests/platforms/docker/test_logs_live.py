"""Logs as they are copied from real containers."""

from node_stub.platforms.base import JobPhase, Stream
from tests.platforms.docker.bench import Bench
from tests.platforms.docker.conftest import Benches
from tests.support.engines import Engine


async def test_a_log_can_be_read_while_the_job_runs(bench: Bench) -> None:
    spec = bench.spec("sh", "-c", "echo first; while [ ! -e go ]; do sleep 0.05; done; echo last")
    await bench.start(spec)
    await bench.has_written(spec, "first")
    assert (await bench.look(spec)).phase is JobPhase.RUNNING
    (spec.workspace.home / "go").touch()
    await bench.end(spec)
    assert bench.log(spec) == b"first\nlast\n"


async def test_a_log_is_complete_and_exact_across_a_restart_of_the_broker(bench: Bench) -> None:
    script = (
        "i=0; while [ $i -lt 400 ]; do echo line $i; echo e$i >&2; i=$((i+1)); sleep 0.005; done"
    )
    spec = bench.spec("sh", "-c", script)
    await bench.start(spec)
    for line in (20, 60, 120):
        await bench.has_written(spec, f"line {line}\n")
        await bench.restart()
        assert (await bench.look(spec)).phase is JobPhase.RUNNING
    await bench.runner.close()
    await bench.open()
    await bench.end(spec)
    assert bench.log(spec).decode() == "".join(f"line {i}\n" for i in range(400))
    assert bench.log(spec, Stream.STDERR).decode() == "".join(f"e{i}\n" for i in range(400))


async def test_a_job_that_ends_while_there_is_no_broker_is_told_of_in_full(bench: Bench) -> None:
    spec = bench.spec(
        "sh", "-c", "echo before; while [ ! -e go ]; do sleep 0.05; done; echo after; exit 5"
    )
    await bench.start(spec)
    await bench.has_written(spec, "before")
    await bench.runner.close()
    (spec.workspace.home / "go").touch()
    await bench.open()
    seen = await bench.end(spec)
    assert seen.exit_code == 5
    assert bench.log(spec) == b"before\nafter\n"


async def test_a_log_that_is_too_long_is_cut_and_says_so(bench: Bench) -> None:
    limit = 100_000
    spec = bench.spec(
        "sh", "-c", "yes 0123456789abcdef | head -c 3000000; echo kept >&2", log_bytes=limit
    )
    await bench.run(spec)
    log = bench.log(spec)
    kept, note = log[:limit], log[limit:]
    assert kept == (b"0123456789abcdef\n" * 10_000)[:limit]
    # Podman ends every log with the end of a line.
    assert b"at least 2900000 bytes" in note or b"at least 2900001 bytes" in note
    assert bench.log(spec, Stream.STDERR) == b"kept\n"


async def test_what_is_no_text_arrives_byte_for_byte(bench: Bench) -> None:
    spec = bench.spec("printf", r"\377\376\001\200 \303\251\n")
    await bench.run(spec)
    assert bench.log(spec) == b"\xff\xfe\x01\x80 \xc3\xa9\n"


async def test_a_log_goes_on_after_the_engine_was_restarted(
    private_engine: Engine, new_bench: Benches
) -> None:
    bench = await new_bench(private_engine)
    script = "i=0; while [ $i -lt 600 ]; do echo line $i; i=$((i+1)); sleep 0.01; done"
    spec = bench.spec("sh", "-c", script)
    await bench.start(spec)
    await bench.has_written(spec, "line 20\n")
    private_engine.stop()
    private_engine.start()
    seen = await bench.end(spec)
    assert seen.exit_code == 0
    assert bench.log(spec).decode() == "".join(f"line {i}\n" for i in range(600))
