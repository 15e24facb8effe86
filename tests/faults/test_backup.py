"""A gateway that is lost and set up again from a backup goes on, and runs nothing twice."""

import sqlite3
from contextlib import closing
from pathlib import Path

from node_stub.platforms.simulated import JobStep, SimulatedSettings
from tests.api.gateway.conftest import holds_of
from tests.support.crashing import is_update, ran_at
from tests.support.gateway import running_gateway
from tests.support.node import ADMIN, node_settings, running_node
from tests.support.pair import Pair
from tests.support.proxy import Weather, running_proxy
from tests.support.stores import SQLITE, Store
from tests.support.waiting import eventually

RUNS_ON = SimulatedSettings(prepare_s=0, run_s=0, release_s=0, hang=frozenset({JobStep.RUN}))


def back_up(store: Store, at: Path, copy: Path) -> None:
    """As the manual says it, while the gateway runs."""
    copy.mkdir()
    url = store.url(at)
    if store.server is None:
        name = SQLITE.rpartition("/")[2]
        # What the command `.backup` of the program sqlite3 does.
        with (
            closing(sqlite3.connect(at / name)) as source,
            closing(sqlite3.connect(copy / name)) as target,
        ):
            source.backup(target)
        return
    schema = url.rpartition("=")[2]
    store.server.run("pg_dump", "-Fc", "-n", schema, "-f", str(copy / "gateway.dump"))


def restore(store: Store, at: Path, copy: Path) -> str:
    """Into a place of its own, as after a loss; its URL."""
    if store.server is None:
        return SQLITE
    url = store.server.create_database()
    store.server.run("pg_restore", str(copy / "gateway.dump"), database=url.rpartition("/")[2])
    return f"{url}?search_path={store.url(at).rpartition('=')[2]}"


async def test_what_was_accepted_is_carried_on_and_what_was_to_be_told_is_told(
    tmp_path: Path, store: Store
) -> None:
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
    async with (
        running_node(tmp_path / "alpha", node_settings(name="alpha", platform=RUNS_ON)) as alpha,
        running_node(tmp_path / "beta", node_settings(name="beta", platform=RUNS_ON)) as beta,
        running_proxy(alpha.url) as proxy,
    ):
        alpha.auth = beta.auth = ADMIN
        urls = {"alpha": proxy.url, "beta": beta.url}
        async with running_gateway(urls, tmp_path / "gateway") as gateway:
            two = Pair(gateway, alpha, proxy, beta, tmp_path)
            running = (await two.offers())["alpha"]
            assert (await two.accept(running)).status == 200
            await two.becomes(running, "RUNNING")
            untold = (await two.offers("?nodes=alpha&limit=1"))["alpha"]
            later = await two.offers()
            proxy.applies_to = is_update
            proxy.weather = Weather.REQUEST_LOST
            await gateway.move(untold["meta"]["uuid"], "REJECTED")
            back_up(store, tmp_path / "gateway", tmp_path / "copy")
            # What happens from here on the backup does not know.
            assert (await two.accept(later["beta"])).status == 200
        assert (await alpha.session(untold["meta"]["uuid"]))["phase"] == "OFFERED"
        proxy.weather = Weather.FINE
        database = restore(store, tmp_path / "gateway", tmp_path / "copy")
        async with running_gateway(urls, tmp_path / "copy", database=database) as gateway:
            again = Pair(gateway, alpha, proxy, beta, tmp_path)
            await again.becomes(running, "RUNNING")
            # Accepted after the backup: only the node knows, and it is believed.
            await again.becomes(later["beta"], "RUNNING")
            assert (await again.accept(later["alpha"])).status == 409
            await again.becomes_at_alpha(untold, "REJECTED")
            await again.becomes_at_alpha(later["alpha"], "REJECTED")
            for offer in (running, later["beta"]):
                assert (await gateway.move(offer["meta"]["uuid"], "CANCELLED")).status == 200

            async def nothing_is_held() -> bool:
                return await holds_of(alpha) == await holds_of(beta) == 0

            await eventually(nothing_is_held)
    assert ran_at(tmp_path / "alpha") == {running["meta"]["uuid"]}
    assert ran_at(tmp_path / "beta") == {later["beta"]["meta"]["uuid"]}
