"""How Rucio is asked: in batches, by sums, by parts, and never believed beyond what it says."""

import json

import pytest

from gateway.clients.lakes.connections import LakeConnections
from gateway.clients.lakes.rucio import RucioLimits
from gateway.clients.lakes.rucio_collections import CollectionLimits
from gateway.domain.holdings import Copy, DidKind, Place
from gateway.domain.reasons import Reason, ReasonCode
from tests.support.faulty_nodes import Asked, running
from tests.support.lake_stubs import (
    SCOPE,
    StubRucio,
    Told,
    chunked,
    did,
    fails,
    hangs,
    in_s,
    lines,
    rucio_lake,
    running_rucio,
)


async def test_more_than_a_thousand_are_asked_in_batches() -> None:
    names = [f"file-{index}" for index in range(1200)]
    stub = StubRucio(files=dict.fromkeys(names, ("UK",)))
    async with running(stub) as server, LakeConnections() as connections:
        lake = rucio_lake(connections, server.url)
        result = await lake.locate([did(n) for n in names], deadline=in_s(10), settled=Told())
        batches = [
            len(json.loads(asked.body)["dids"])
            for asked in server.asked
            if asked.path == "/replicas/list"
        ]
    assert len(result.holdings) == 1200
    assert sorted(batches) == [200, 500, 500]
    assert stub.calls["/dids/bulkmeta"] == 3


async def test_lists_are_asked_for_in_random_order_without_archives() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    async with running(stub) as server, LakeConnections() as connections:
        await rucio_lake(connections, server.url).locate(
            [did("a")], deadline=in_s(2), settled=Told()
        )
        (asked,) = [one for one in server.asked if one.path == "/replicas/list"]
    body = json.loads(asked.body)
    assert body["sort"] == "random"
    assert body["resolve_archives"] is False
    assert "rse_expression" not in body


async def test_files_have_their_copies_checksums_and_urls() -> None:
    stub = StubRucio(files={"a/b": ("UK", "JP_TAPE"), "none": ()}, size=1000.0)
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("a/b"), did("none")], deadline=in_s(2), settled=Told())
    holding = result.holdings[did("a/b")]
    assert (holding.kind, holding.bytes, holding.files) == (DidKind.FILE, 1000, 1)
    assert [(sum_.type, sum_.value) for sum_ in holding.checksums] == [("adler32", "0cc737eb")]
    (part,) = holding.parts
    assert part.copies == (
        Copy(Place(rse="JP_TAPE"), 1000, 1, is_tape=True, urls=("davs://jp_tape.invalid/a/b",)),
        Copy(Place(rse="UK"), 1000, 1, urls=("davs://uk.invalid/a/b",)),
    )
    assert result.holdings[did("none")].parts[0].copies == ()


async def test_one_bad_identifier_does_not_cost_the_others_theirs() -> None:
    names = [f"file-{index}" for index in range(40)]
    stub = StubRucio(files=dict.fromkeys(names, ("UK",)))

    async def picky(asked: Asked, writer: object) -> None:
        asked_for = {item["name"] for item in json.loads(asked.body)["dids"]}
        if "b a d" in asked_for:
            await fails("500 Internal Server Error", "InvalidObject")(asked, writer)  # type: ignore[arg-type]
        else:
            rows = [
                {"scope": SCOPE, "name": name, "did_type": "FILE"} for name in sorted(asked_for)
            ]
            await chunked(lines(*rows))(asked, writer)  # type: ignore[arg-type]

    stub.faults["/dids/bulkmeta"] = picky
    wanted = [did(name) for name in (*names[:17], "b a d", *names[17:])]
    async with running_rucio(stub) as lake:
        result = await lake.locate(wanted, deadline=in_s(5), settled=Told())
    assert set(result.missing) == {did("b a d")}
    assert result.missing[did("b a d")].code is ReasonCode.DATA_PLACE_UNKNOWN
    assert stub.calls["/dids/bulkmeta"] < 16


async def test_a_server_that_refuses_everything_is_not_asked_for_ever() -> None:
    refusal = fails("500 Internal Server Error", "InvalidObject")
    stub = StubRucio(faults={"/dids/bulkmeta": refusal})
    async with running_rucio(stub) as lake:
        result = await lake.locate(
            [did(f"{index}") for index in range(500)], deadline=in_s(10), settled=Told()
        )
    assert len(result.missing) == 500
    assert stub.calls["/dids/bulkmeta"] <= 65


async def test_a_dataset_is_counted_by_its_sums_and_blocked_storage_is_no_copy() -> None:
    stub = StubRucio(
        files={"a": ("UK", "JP", "ZA"), "b": ("UK", "ZA")},
        datasets={"d": ("a", "b")},
        unreadable=frozenset({"ZA"}),
        size=1000.0,
    )
    told = Told()
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("d")], deadline=in_s(2), settled=told)
    holding = result.holdings[did("d")]
    assert (holding.bytes, holding.files, holding.is_approximate) == (2000, 2, False)
    assert holding.parts[0].copies == (
        Copy(Place(rse="JP"), 1000, 1, is_complete=False),
        Copy(Place(rse="UK"), 2000, 2),
        Copy(Place(rse="ZA"), 2000, 2, is_readable=False),
    )
    assert stub.calls["/replicas/list"] == 0
    assert [is_open for _, _, is_open in told.outcomes] == [True]


async def test_a_dataset_that_is_nowhere_whole_is_told_roughly_then_exactly() -> None:
    stub = StubRucio(
        files={"a": ("UK",), "b": ("JP",), "c": ("JP",), "lost": ()},
        datasets={"d": ("a", "b", "c", "lost")},
    )
    told = Told()
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("d")], deadline=in_s(2), settled=told)
    rough, exact = (outcome for _, outcome, _ in told.outcomes)
    assert not isinstance(rough, Reason)
    assert rough.is_approximate
    assert exact == result.holdings[did("d")]
    holding = result.holdings[did("d")]
    assert not holding.is_approximate
    assert holding.bytes == 4000
    shown = {
        tuple(copy.place.rse for copy in part.copies): (part.bytes, part.files)
        for part in holding.parts
    }
    assert shown == {("UK",): (1000, 1), ("JP",): (2000, 2), (): (1000, 1)}


async def test_a_large_dataset_that_is_nowhere_whole_stays_rough() -> None:
    stub = StubRucio(files={"a": ("UK",), "b": ("JP",)}, datasets={"d": ("a", "b")})
    limits = RucioLimits(collections=CollectionLimits(exact_files=1))
    async with running_rucio(stub, limits) as lake:
        result = await lake.locate([did("d")], deadline=in_s(2), settled=Told())
    assert result.holdings[did("d")].is_approximate
    assert stub.calls["/replicas/list"] == 0


async def test_a_dataset_without_any_copy_has_its_size_all_the_same() -> None:
    stub = StubRucio(files={"lost": ()}, datasets={"d": ("lost",)})
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("d")], deadline=in_s(2), settled=Told())
    holding = result.holdings[did("d")]
    assert (holding.bytes, holding.files) == (123, 4)
    assert all(part.copies == () for part in holding.parts)


async def test_a_container_keeps_its_datasets_apart_and_counts_each_once() -> None:
    stub = StubRucio(
        files={"a": ("UK",), "b": ("JP",)},
        datasets={"d": ("a",), "e": ("b",)},
        containers={"top": ("left", "right"), "left": ("d",), "right": ("d", "e")},
    )
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("top")], deadline=in_s(2), settled=Told())
    holding = result.holdings[did("top")]
    assert (holding.kind, holding.bytes, holding.files) == (DidKind.CONTAINER, 2000, 2)
    assert sorted(part.name for part in holding.parts) == ["test:d", "test:e"]


@pytest.mark.parametrize("is_deep", [True, False])
async def test_of_a_container_too_large_to_look_into_the_size_is_known(is_deep: bool) -> None:
    containers: dict[str, tuple[str, ...]]
    if is_deep:
        containers = {f"c{index}": (f"c{index + 1}",) for index in range(7)} | {"c7": ()}
    else:
        containers = {"c0": tuple(f"d{index}" for index in range(6))}
    stub = StubRucio(datasets={f"d{index}": () for index in range(6)}, containers=containers)
    limits = RucioLimits(collections=CollectionLimits(datasets=5))
    async with running_rucio(stub, limits) as lake:
        result = await lake.locate([did("c0")], deadline=in_s(2), settled=Told())
    holding = result.holdings[did("c0")]
    assert (holding.bytes, holding.files, holding.parts) == (123, 4, ())
    assert holding.is_approximate
    assert stub.calls["deep"] == 0


async def test_a_cut_answer_voids_all_of_it() -> None:
    stub = StubRucio(files={"a": ("UK",), "b": ("UK",)})
    whole = lines(stub._replica("a"), stub._replica("b"))
    async with running_rucio(stub) as lake:
        for answer in (
            chunked(whole[:-20]),  # cut within a line, and yet ended in good form
            chunked(whole, is_whole=False),  # cut after a line
            chunked(lines(stub._replica("a"))),  # nothing to see: a row is missing
        ):
            stub.faults["/replicas/list"] = answer
            result = await lake.locate([did("a"), did("b")], deadline=in_s(2), settled=Told())
            assert result.missing[did("b")].code is ReasonCode.LAKE_INVALID_ANSWER


async def test_without_the_table_of_storage_everything_counts_as_readable() -> None:
    stub = StubRucio(files={"a": ("UK",)}, datasets={"d": ("a",)}, unreadable=frozenset({"UK"}))
    stub.faults["/rses/"] = fails("500 Internal Server Error", "AccessDenied")
    async with running_rucio(stub) as lake:
        for _ in range(2):
            await lake.locate([did("d")], deadline=in_s(2), settled=Told())
        result = await lake.locate([did("d")], deadline=in_s(2), settled=Told())
    assert result.holdings[did("d")].parts[0].copies[0].is_readable
    assert stub.calls["/rses/"] == 1


async def test_one_dataset_that_hangs_costs_only_its_own_answer() -> None:
    stub = StubRucio(files={"a": ("UK",)}, datasets={"d": ("a",), "slow": ("a",)})
    stub.faults["/replicas/test/slow/"] = hangs
    told = Told()
    async with running_rucio(stub) as lake:
        result = await lake.locate(
            [did("a"), did("d"), did("slow")], deadline=in_s(0.5), settled=told
        )
    assert set(result.holdings) == {did("a"), did("d")}
    assert result.missing[did("slow")].code is ReasonCode.LAKE_TIMEOUT


async def test_what_it_calls_by_no_known_kind_is_there_and_no_more_is_known() -> None:
    row = {"scope": SCOPE, "name": "a", "did_type": "ARCHIVE"}
    stub = StubRucio(faults={"/dids/bulkmeta": chunked(lines(row))})
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("a")], deadline=in_s(2), settled=Told())
    assert result.holdings[did("a")].kind is DidKind.UNKNOWN


@pytest.mark.parametrize("name", ["../../accounts", "a/./b", "a//b", "a/.."])
async def test_a_name_never_leads_to_another_resource(name: str) -> None:
    stub = StubRucio(datasets={name: ()})
    async with running(stub) as server, LakeConnections() as connections:
        result = await rucio_lake(connections, server.url).locate(
            [did(name)], deadline=in_s(2), settled=Told()
        )
        assert {asked.path for asked in server.asked} == {"/auth/userpass", "/dids/bulkmeta"}
    assert result.missing[did(name)].code is ReasonCode.DATA_PLACE_UNKNOWN


async def test_a_container_with_a_part_that_cannot_be_asked_about_is_not_known() -> None:
    stub = StubRucio(
        files={"a": ("UK",)}, datasets={"d": ("a",), "e": ("a",)}, containers={"c": ("d", "e")}
    )
    stub.faults["/replicas/test/e/"] = fails("500 Internal Server Error")
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("c"), did("d")], deadline=in_s(2), settled=Told())
        assert result.missing[did("c")].code is ReasonCode.LAKE_FAILED
        assert set(result.holdings) == {did("d")}
        stub.faults = {"/dids/test/c/": fails("500 Internal Server Error")}
        result = await lake.locate([did("c")], deadline=in_s(2), settled=Told())
        assert result.missing[did("c")].code is ReasonCode.LAKE_FAILED


async def test_what_goes_away_while_it_is_looked_into_leaves_the_rough_picture() -> None:
    stub = StubRucio(files={"a": ("UK",), "b": ("JP",)}, datasets={"d": ("a", "b")})
    stub.faults["/replicas/list"] = fails("404 Not Found", "DataIdentifierNotFound")
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("d")], deadline=in_s(2), settled=Told())
    assert result.holdings[did("d")].is_approximate
