"""What log events look like, and what they never show."""

import errno
import io
import json
import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMethod

from gateway.httpkit.logs import configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def fail_with_a_secret() -> None:
    secret = "hunter2"
    raise ValueError(len(secret))


def test_an_event_is_one_json_object_with_its_context() -> None:
    stream = io.StringIO()
    configure_logging(json=True, level="info", stream=stream)
    log = structlog.get_logger()
    structlog.contextvars.bind_contextvars(request_id="r1")
    log.debug("unseen")
    log.info("seen", node="alpha", took_ms=1.5)
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "seen",
        "level": "info",
        "node": "alpha",
        "took_ms": 1.5,
        "request_id": "r1",
    }


class FullDisk(io.StringIO):
    """A stream that nothing can be written to while ``is_full``."""

    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)

    def flush(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_cannot_be_written_fails_nobody_and_logging_goes_on() -> None:
    stream = FullDisk()
    configure_logging(json=True, level="info", stream=stream)
    structlog.get_logger().info("lost")
    logging.getLogger("some.library").warning("lost too")
    stream.is_full = False
    structlog.get_logger().info("seen")
    logging.getLogger("some.library").warning("seen too")
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["seen", "seen too"]


@pytest.mark.parametrize("is_json", [True, False])
def test_a_traceback_shows_no_local_variables(is_json: bool) -> None:
    stream = io.StringIO()
    configure_logging(json=is_json, level="info", stream=stream)
    try:
        fail_with_a_secret()
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("some.library").exception("failed too")
    text = stream.getvalue()
    assert text.count("fail_with_a_secret") >= 2
    assert "hunter2" not in text.replace('secret = "hunter2"', "")
    if is_json:
        events = [json.loads(line) for line in text.splitlines()]
        assert [event["event"] for event in events] == ["failed", "failed too"]
        assert events[1]["logger"] == "some.library"


def test_libraries_are_heard_from_warnings_on() -> None:
    stream = io.StringIO()
    configure_logging(json=True, level="debug", stream=stream)
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("careful %s", "now")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "careful now"


def test_a_client_that_speaks_no_http_is_no_error_of_ours() -> None:
    stream = io.StringIO()
    configure_logging(json=True, level="info", stream=stream)
    server = logging.getLogger("aiohttp.server")
    server.error("Error handling request", exc_info=BadHttpMethod("no HTTP"))
    assert stream.getvalue() == ""
    server.error("Error handling request", exc_info=ValueError("a defect"))
    assert "a defect" in stream.getvalue()
