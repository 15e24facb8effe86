"""Every row of Rucio's table of errors, as 41.5.1 and 35.9.2 give them, and what comes of it."""

from typing import Any

import pytest

from gateway.clients.lakes.errors import (
    LakeBusyError,
    LakeCredentialsError,
    LakeError,
    LakeInvalidAnswerError,
    LakeRequestError,
    LakeStatusError,
)
from gateway.domain.reasons import ReasonCode
from tests.support.lake_stubs import (
    Answer,
    StubRucio,
    Told,
    did,
    fails,
    in_s,
    running_rucio,
    says,
)

TOO_MANY = "Problem validating dids: too long\n" + "x" * 100_000


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (fails("406 Not Acceptable"), LakeRequestError),
        (fails("400 Bad Request", "InvalidObject", TOO_MANY), LakeRequestError),
        (fails("500 Internal Server Error", "InvalidObject", TOO_MANY), LakeRequestError),
        (fails("400 Bad Request", "SortingAlgorithmNotSupported"), LakeRequestError),
        (fails("500 Internal Server Error", "InvalidRSEExpression"), LakeRequestError),
        (fails("500 Internal Server Error", "AccessDenied"), LakeRequestError),
        (fails("404 Not Found", "DataIdentifierNotFound"), LakeRequestError),
        (fails("500 Internal Server Error", "TypeError"), LakeStatusError),
        (fails("500 Internal Server Error"), LakeStatusError),
        (says(b"<html>Bad gateway</html>", "502 Bad Gateway"), LakeStatusError),
        (says(b"", "302 Found", Location="http://192.0.2.1/"), LakeStatusError),
        (fails("503 Service Unavailable", "DatabaseException"), LakeBusyError),
        (fails("429 Too Many Requests"), LakeBusyError),
        (fails("403 Forbidden"), LakeCredentialsError),
        (says(b"<html>log in</html>"), LakeInvalidAnswerError),
        (says(b'{"scope": "test"}\n'), LakeInvalidAnswerError),
        (says(b'["x"]\n'), LakeInvalidAnswerError),
        (says(b"\xff\xfe\n"), LakeInvalidAnswerError),
    ],
)
async def test_each_failure_is_told_apart(answer: Answer, error: type[LakeError]) -> None:
    stub = StubRucio(faults={"/dids/bulkmeta": answer})
    async with running_rucio(stub) as lake:
        with pytest.raises(error) as failure:
            await lake._api.describe([did("a")], deadline=in_s(20))
    assert type(failure.value) is error
    assert len(str(failure.value)) < 200  # the answer may echo all that was asked


@pytest.mark.parametrize(
    "refusal",
    [
        fails("401 Unauthorized", "CannotAuthenticate"),
        fails("400 Bad Request", "ValueError", "Token must be set."),
    ],
)
async def test_a_login_that_has_ended_is_renewed_once(refusal: Answer) -> None:
    stub = StubRucio(files={"a": ("UK",)})
    async with running_rucio(stub) as lake:
        await lake.locate([did("a")], deadline=in_s(2), settled=Told())
        stub.good.clear()
        result = await lake.locate([did("a")], deadline=in_s(2), settled=Told())
        assert did("a") in result.holdings
        assert len(stub.logins) == 2
        stub.faults["/dids/bulkmeta"] = refusal
        result = await lake.locate([did("a")], deadline=in_s(2), settled=Told())
        assert result.missing[did("a")].code is ReasonCode.LAKE_REFUSED_CREDENTIALS
        assert stub.calls["/auth/userpass"] == 3


async def test_another_400_does_not_cost_a_login() -> None:
    stub = StubRucio(faults={"/dids/bulkmeta": fails("400 Bad Request", "ValueError", "else")})
    async with running_rucio(stub) as lake:
        await lake.locate([did("a")], deadline=in_s(2), settled=Told())
    assert len(stub.logins) == 1


async def test_a_busy_server_is_asked_again_within_the_deadline() -> None:
    stub = StubRucio(files={"a": ("UK",)})
    busy = fails("503 Service Unavailable")

    async def answer(asked: Any, writer: Any) -> None:
        if stub.calls["/replicas/list"] >= 2:
            del stub.faults["/replicas/list"]
        await busy(asked, writer)

    stub.faults["/replicas/list"] = answer
    async with running_rucio(stub) as lake:
        result = await lake.locate([did("a")], deadline=in_s(10), settled=Told())
    assert did("a") in result.holdings
    assert stub.calls["/replicas/list"] == 3


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (fails("500 Internal Server Error"), ReasonCode.LAKE_FAILED),
        (says(b"{"), ReasonCode.LAKE_INVALID_ANSWER),
    ],
)
@pytest.mark.parametrize("path", ["/dids/bulkmeta", "/replicas/list", "/replicas/test/d/datasets"])
async def test_wherever_it_fails_every_identifier_has_its_reason(
    path: str, answer: Answer, code: ReasonCode
) -> None:
    stub = StubRucio(files={"a": ("UK",)}, datasets={"d": ("a",)}, faults={path: answer})
    asked = [did("a"), did("d"), did("nobody")]
    async with running_rucio(stub) as lake:
        result = await lake.locate(asked, deadline=in_s(2), settled=Told())
    assert {*result.holdings, *result.missing} == set(asked)
    assert code in {why.code for why in result.missing.values()}


async def test_health_says_what_is_wrong() -> None:
    stub = StubRucio()
    async with running_rucio(stub) as lake:
        assert (await lake.health(deadline=in_s(2))).detail == "Rucio 41.5.1"
        stub.faults["/ping"] = fails("500 Internal Server Error")
        health = await lake.health(deadline=in_s(2))
        assert (health.is_up, "500" in health.detail) == (False, True)
