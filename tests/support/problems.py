"""What a gateway answers to what it refuses, and bodies that are no documents."""

from typing import Final

from gateway.wire.documents import Document
from tests.support.gateway import Answer, GatewayUnderTest
from tests.support.node import ADMIN

SOME_UUID: Final = "5b0c7d3e-6b0c-4d0a-9a52-0e2f4a1d7c01"
"""Belongs to nothing: the same in every process, as names of tests must be."""


async def sent(
    gateway: GatewayUnderTest,
    body: bytes,
    content_type: str | None = "application/json",
    path: str = "/requests",
    **headers: str,
) -> Answer:
    """The answer to a body as it is."""
    given = {**ADMIN.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if content_type is not None:
        given["Content-Type"] = content_type
    skipped = ["Content-Type"] if content_type is None else []
    async with gateway.session.post(
        gateway.url + path,
        data=body,
        headers=given,
        skip_auto_headers=skipped,
        allow_redirects=False,
    ) as response:
        document = await response.json(content_type=None)
        return Answer(response.status, response.headers, document, await response.text())


def problem(answer: Answer, status: int) -> Document:
    """The problem that an answer is, with all that every problem has (RFC 9457)."""
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    document: Document = answer.document
    assert document["status"] == status
    assert document["type"].startswith("https://")
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == answer.headers["X-Request-Id"]
    return document


def pointers(document: Document) -> list[str]:
    return [error["pointer"] for error in document["errors"]]


def said(answer: Answer) -> list[str]:
    """The kinds and texts of the messages of a NO."""
    assert answer.status == 303, answer.text
    assert answer.document["result"] == "NO"
    assert "offers" not in answer.document
    messages = answer.document["meta"]["messages"]
    assert all("${" not in message["message"] for message in messages)
    return [message["kind"] for message in messages]
