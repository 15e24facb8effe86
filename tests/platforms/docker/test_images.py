"""Which image a job gets."""

import pytest

from gateway.wire.documents import Document
from node_stub.platforms.base import EndReason, JobPhase, Observation
from node_stub.platforms.docker.settings import PullPolicy
from tests.platforms.docker.bench import Bench
from tests.platforms.docker.conftest import Benches, image_on
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, busybox, push, remove, tag

MISSING = "eb.test/missing:1"
OTHER_DIGEST = "sha256:" + 64 * "0"


async def prepared(
    bench: Bench, *locations: str, digest: str | None, **image: object
) -> Observation:
    """What becomes of the preparation of a job with this image."""
    asked: Document = {"locations": list(locations), "digest": digest, **image}
    return await bench.ready(bench.spec_of(bench.executable("true", image=asked)))


async def test_a_missing_image_ends_the_job_with_each_locations_reason(bench: Bench) -> None:
    seen = await prepared(bench, MISSING, "eb.test/also-missing:1", digest=OTHER_DIGEST)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)
    assert f"{MISSING}: " in seen.text
    assert "eb.test/also-missing:1: " in seen.text


async def test_the_second_location_is_used_where_the_first_is_of_no_use(bench: Bench) -> None:
    image: Document = {"locations": [MISSING, BUSYBOX], "digest": bench.image}
    spec = bench.spec_of(bench.executable("true", image=image))
    assert (await bench.run(spec)).reason is EndReason.OK
    assert bench.inspect(spec)["Image"].removeprefix("sha256:") in bench.image


async def test_the_id_of_an_image_pins_it(bench: Bench) -> None:
    assert (await prepared(bench, BUSYBOX, digest=bench.image)).phase is JobPhase.READY


async def test_no_part_of_a_digest_pins_an_image(bench: Bench) -> None:
    seen = await prepared(bench, BUSYBOX, digest=bench.image[:-1])
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)


async def test_a_local_image_with_another_digest_is_not_used(bench: Bench) -> None:
    seen = await prepared(bench, BUSYBOX, digest=OTHER_DIGEST)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)


async def test_an_image_is_pulled_by_its_digest_exactly(bench: Bench, registry: str) -> None:
    location, digest = push(bench.engine, BUSYBOX, registry, f"{bench.engine.name}/exact:1")
    other = busybox(bench.engine, "eb.test/other:1", "LABEL other=1")
    remove(bench.engine, location)
    # Now the tag means another image, here and there.
    push(bench.engine, "eb.test/other:1", registry, f"{bench.engine.name}/exact:1")
    spec = bench.spec_of(
        bench.executable("true", image={"locations": [location], "digest": digest})
    )
    assert (await bench.run(spec)).reason is EndReason.OK
    used = bench.inspect(spec)["Image"]
    assert used.removeprefix("sha256:") in bench.image
    assert used.removeprefix("sha256:") not in other


async def test_a_digest_that_the_registry_does_not_have_is_refused(
    bench: Bench, registry: str
) -> None:
    location, _ = push(bench.engine, BUSYBOX, registry, f"{bench.engine.name}/mismatch:1")
    seen = await prepared(bench, location, digest=OTHER_DIGEST)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)
    assert location in seen.text


async def test_an_image_is_pulled_by_tag_and_compared_with_an_id(
    bench: Bench, registry: str
) -> None:
    location, _ = push(bench.engine, BUSYBOX, registry, f"{bench.engine.name}/by-id:1")
    remove(bench.engine, location)
    assert (await prepared(bench, location, digest=bench.image)).phase is JobPhase.READY


async def test_nothing_is_pulled_where_the_site_forbids_it(
    engine: Engine, new_bench: Benches, registry: str
) -> None:
    bench = await new_bench(engine, pull=PullPolicy.NEVER)
    busybox(engine, "eb.test/never:1", "LABEL never=1")
    location, digest = push(engine, "eb.test/never:1", registry, f"{engine.name}/never:1")
    remove(engine, location)
    remove(engine, "eb.test/never:1")
    seen = await prepared(bench, location, digest=digest)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)


async def test_a_registry_that_is_not_allowed_is_not_asked(
    engine: Engine, new_bench: Benches, registry: str
) -> None:
    bench = await new_bench(engine, registries=("*.test",))
    location, digest = push(engine, BUSYBOX, registry, f"{engine.name}/denied:1")
    seen = await prepared(bench, location, digest=digest)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)
    assert "may be used" in seen.text


async def test_an_image_of_another_platform_is_not_used(bench: Bench) -> None:
    platform = {"architecture": "arm64", "os": "linux"}
    seen = await prepared(bench, BUSYBOX, digest=bench.image, platform=platform)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)


@pytest.mark.parametrize("location", ["../etc/passwd", "UPPER/case:1", "a b", "x:1?y=2", ""])
async def test_what_is_no_name_of_an_image_never_reaches_the_engine(
    bench: Bench, location: str
) -> None:
    seen = await prepared(bench, location, digest=None)
    assert (seen.phase, seen.reason) == (JobPhase.ENDED, EndReason.IMAGE)
    assert "is not the name of an image" in seen.text


async def test_an_unreachable_registry_is_asked_again(engine: Engine, new_bench: Benches) -> None:
    bench = await new_bench(engine, pull_retry_s=60.0)
    image: Document = {"locations": ["eb.test/later:1"], "digest": bench.image}
    spec = bench.spec_of(bench.executable("true", image=image))
    await bench.runner.prepare(spec)
    assert (await bench.look(spec)).phase is JobPhase.STARTING
    tag(engine, BUSYBOX, "eb.test/later:1")
    try:
        assert (await bench.becomes(spec, JobPhase.READY)).phase is JobPhase.READY
    finally:
        remove(engine, "eb.test/later:1")
    assert image_on(engine) == bench.image


async def test_a_preparation_goes_on_after_a_restart(engine: Engine, new_bench: Benches) -> None:
    bench = await new_bench(engine, pull_retry_s=60.0)
    image: Document = {"locations": ["eb.test/after:1"], "digest": bench.image}
    spec = bench.spec_of(bench.executable("true", image=image))
    await bench.runner.prepare(spec)
    await bench.restart()
    assert (await bench.look(spec)).phase is JobPhase.STARTING
    tag(engine, BUSYBOX, "eb.test/after:1")
    try:
        assert (await bench.becomes(spec, JobPhase.READY)).phase is JobPhase.READY
    finally:
        remove(engine, "eb.test/after:1")
