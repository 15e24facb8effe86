"""What happens again, half-way, or with somebody else's containers about."""

from uuid import uuid4

import pytest

from node_stub.platforms.base import EndReason, JobPhase, JobRefusedError, PlatformError
from node_stub.platforms.docker.marks import container_name
from node_stub.platforms.runner import Workspace
from tests.platforms.docker.bench import Bench
from tests.platforms.docker.conftest import Benches
from tests.support.engines import Engine
from tests.support.images import BUSYBOX


async def test_a_job_launched_twice_runs_once(bench: Bench) -> None:
    spec = bench.spec("sh", "-c", "echo run >> ran; sleep 0.3")
    await bench.start(spec)
    await bench.runner.launch(spec)
    await bench.restart()
    await bench.runner.launch(spec)
    await bench.end(spec)
    await bench.runner.launch(spec)
    assert (await bench.look(spec)).phase is JobPhase.ENDED
    assert (spec.workspace.home / "ran").read_text() == "run\n"


@pytest.mark.parametrize("script", ["echo run >> ran; sleep 60", "echo run >> ran"])
async def test_a_container_that_nothing_was_noted_of_is_adopted(bench: Bench, script: str) -> None:
    spec = bench.spec("sh", "-c", script)
    await bench.start(spec)
    await bench.runner.close()
    for _ in range(2):
        # As if the broker had died between the start and the note of it.
        (spec.workspace.run / "start.json").unlink()
        (spec.workspace.run / "end.json").unlink(missing_ok=True)
        await bench.open()
        assert (await bench.look(spec)).phase is JobPhase.READY
        await bench.runner.launch(spec)
        await bench.runner.close()
    await bench.open()
    await bench.runner.stop(spec.workspace, 0.0)
    await bench.end(spec)
    assert (spec.workspace.home / "ran").read_text() == "run\n"


async def test_a_container_that_was_made_and_not_started_is_started(bench: Bench) -> None:
    spec = bench.spec("echo", "ran")
    await bench.ready(spec)
    labels = bench.runner._mark.labels(spec.session)
    body = {"Image": bench.image, "Cmd": ["echo", "ran"], "Labels": labels}
    bench.engine.request("POST", "/containers/create", body, name=container_name(spec.session))
    assert (await bench.look(spec)).phase is JobPhase.READY
    await bench.runner.launch(spec)
    assert (await bench.end(spec)).reason is EndReason.OK
    assert bench.log(spec) == b"ran\n"


async def test_release_may_be_asked_twice_and_for_what_never_was(bench: Bench) -> None:
    spec = bench.spec("sleep", "100")
    await bench.start(spec)
    await bench.runner.release(spec.workspace)
    assert bench.containers() == []
    await bench.runner.release(spec.workspace)
    session = uuid4()
    await bench.runner.release(Workspace(session, bench.root / str(session)))


async def test_what_is_not_known_is_gone(bench: Bench) -> None:
    session = uuid4()
    workspace = Workspace(session, bench.root / str(session))
    assert (await bench.runner.observe([workspace]))[session].phase is JobPhase.GONE
    await bench.runner.stop(workspace, 1.0)
    assert (await bench.runner.observe([workspace]))[session].phase is JobPhase.GONE


async def test_orphans_are_found_and_removed_and_other_brokers_containers_are_not(
    engine: Engine, new_bench: Benches
) -> None:
    ours, theirs = await new_bench(engine), await new_bench(engine)
    lost, other = ours.spec("sleep", "100"), theirs.spec("sleep", "100")
    await ours.start(lost)
    await theirs.start(other)
    await ours.runner.close()
    for path in lost.workspace.run.iterdir():
        path.unlink()
    await ours.open()
    assert list(await ours.runner.recover()) == [lost.session]
    await ours.runner.release(lost.workspace)
    assert ours.containers() == [container_name(other.session)]
    assert list(await ours.runner.recover()) == []
    # Not even one of that name.
    await ours.runner.release(Workspace(other.session, ours.root / str(other.session)))
    assert ours.containers() == [container_name(other.session)]


async def test_another_brokers_container_is_never_adopted(bench: Bench) -> None:
    spec = bench.spec("true")
    await bench.ready(spec)
    body = {"Image": BUSYBOX, "Cmd": ["true"]}
    name = container_name(spec.session)
    bench.engine.request("POST", "/containers/create", body, name=name)
    try:
        with pytest.raises(JobRefusedError):
            await bench.runner.launch(spec)
    finally:
        bench.engine.request("DELETE", f"/containers/{name}")


async def test_an_engine_that_is_away_says_nothing_about_jobs(
    private_engine: Engine, new_bench: Benches
) -> None:
    bench = await new_bench(private_engine)
    spec = bench.spec("sh", "-c", "while [ ! -e go ]; do sleep 0.05; done; exit 6")
    waiting = bench.spec("true")
    await bench.start(spec)
    assert (await bench.runner.probe()).is_up
    private_engine.kill()
    health = await bench.runner.probe()
    assert not health.is_up
    assert str(private_engine.path) in health.detail
    for call in (
        bench.runner.observe([spec.workspace]),
        bench.runner.estimate({"executable": spec.executable}),
        bench.runner.recover(),
        bench.runner.prepare(waiting),
        bench.runner.release(spec.workspace),
    ):
        with pytest.raises(PlatformError):
            await call
    (spec.workspace.home / "go").touch()
    private_engine.start()
    seen = await bench.end(spec)
    assert (seen.reason, seen.exit_code) == (EndReason.NONZERO, 6)


async def test_a_stop_that_was_asked_while_the_engine_was_away_is_done_later(
    private_engine: Engine, new_bench: Benches
) -> None:
    bench = await new_bench(private_engine)
    spec = bench.spec("sleep", "100")
    await bench.start(spec)
    private_engine.stop()
    await bench.runner.stop(spec.workspace, 0.0)
    private_engine.start()
    assert (await bench.end(spec)).reason is EndReason.CANCELLED
