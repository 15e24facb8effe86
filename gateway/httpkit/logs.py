"""Logging: structlog to standard error, and the standard library's loggers through it."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import Processor


def configure_logging(*, json: bool, level: str, stream: TextIO | None = None) -> None:
    """Send every log event to standard error, one per line.

    Standard output is left alone: it belongs to the line that says where the service listens.
    Tracebacks are plain text, since richer ones would show local variables and so secrets.

    Parameters
    ----------
    json
        One JSON object per event; otherwise text for a reader.
    level
        The least serious level shown: ``debug``, ``info``, ``warning`` or ``error``.
    stream
        Where to write, if not to standard error. What cannot be written there is dropped.
    """
    stream = stream or sys.stderr
    lossy = _LossyStream(stream)
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendered = _renderers(json=json, has_colours=stream.isatty())
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", lossy)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(lossy)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.getLogger("aiohttp.server").addFilter(_is_no_client_mistake)
    # Libraries report their own workings at INFO; ours comes through structlog.
    root.setLevel(max(number, logging.WARNING))


class _LossyStream:
    """Drops what cannot be written: a full disk below the log must not fail what is logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, or do nothing."""
        with suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Have what was written reach its end, or do nothing."""
        with suppress(OSError):
            self._stream.flush()


def _is_no_client_mistake(record: logging.LogRecord) -> bool:
    """Leave out what aiohttp reports as an error when a client sends something that is no HTTP."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _renderers(*, json: bool, has_colours: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=has_colours, exception_formatter=structlog.dev.plain_traceback
        )
    ]
