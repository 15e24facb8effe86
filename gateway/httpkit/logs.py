"""Logging: structlog to standard error, and the standard library's loggers through it."""

import logging
import sys
from typing import TextIO

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
        Where to write, if not to standard error.
    """
    stream = stream or sys.stderr
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
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
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
