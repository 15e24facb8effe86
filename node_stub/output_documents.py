"""What came out of a session, as its readers see it: connectors, and the list of results. Pure."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from gateway.wire.documents import Document
from gateway.wire.outputs import STREAMS, output_urls, with_urls
from gateway.wire.phases import (
    EXECUTION_PHASES,
    ConnectorStatus,
    SessionPhase,
    is_terminal,
)
from gateway.wire.times import format_instant
from node_stub.archive import Report

RUNNING_SINCE: Final = frozenset({SessionPhase.RUNNING, SessionPhase.RELEASING})
"""Phases in which something may have come out already, and the session has not ended."""


def output_connectors(
    session: UUID, base_url: str, phase: SessionPhase, *, has_outputs: bool
) -> list[Document]:
    """The session's connectors to its logs and results; none before it was accepted.

    PREPARING until it runs, FINISHED once nothing is kept any more. They lead somewhere from the
    start: a log can be followed before there is one.

    Parameters
    ----------
    has_outputs
        Whether anything is kept of a session that has ended.
    """
    if is_terminal(phase):
        if phase in {SessionPhase.REJECTED, SessionPhase.EXPIRED}:
            return []
        status = ConnectorStatus.AVAILABLE if has_outputs else ConnectorStatus.FINISHED
    elif phase in RUNNING_SINCE:
        status = ConnectorStatus.AVAILABLE
    elif phase in EXECUTION_PHASES:
        status = ConnectorStatus.PREPARING
    else:
        return []
    protocol = urlsplit(base_url).scheme.upper()
    connectors: list[Document] = []
    for kind, url in output_urls(base_url, session).items():
        connector: Document = {"kind": kind, "status": status.value, "protocol": protocol}
        if status is not ConnectorStatus.FINISHED:
            connector["location"] = url
        connectors.append(connector)
    return connectors


def results_document(
    session: UUID,
    phase: SessionPhase,
    report: Report | None,
    log_sizes: Mapping[str, int],
    base_url: str,
    expires: datetime | None,
) -> Document:
    """What came out of a session; without a report nothing has, and of an offer nothing will."""
    document: Document = {
        "session": str(session),
        "phase": phase.value,
        "is_complete": report is not None or is_terminal(phase),
    }
    if report is None:
        names = STREAMS if phase in EXECUTION_PHASES else ()
        document["streams"] = [{"name": name} for name in names]
        document["files"] = []
        return with_urls(document, base_url)
    document |= _ended(report)
    if expires is not None:
        document["expires"] = format_instant(expires)
    document["streams"] = [
        {"name": name, "size": log_sizes[name]} for name in STREAMS if name in log_sizes
    ]
    document["files"] = [
        {"path": file.path, "size": file.size, "sha256": file.sha256} for file in report.files
    ]
    document["notes"] = list(report.notes)
    if report.unsent:
        document["unsent"] = list(report.unsent)
    return with_urls(document, base_url)


def end_document(phase: SessionPhase, report: Report | None) -> Document:
    """What a followed log ends with: how the session ended, as far as that is known."""
    document: Document = {"phase": phase.value}
    return document if report is None else document | _ended(report)


def _ended(report: Report) -> Document:
    """Exit, reason, times and usage; what is not known is left out."""
    document: Document = {}
    if report.exit_code is not None:
        document["exit_code"] = report.exit_code
    if report.reason is not None:
        document["reason"] = report.reason.value
    document["text"] = report.text
    for name, moment in (("started", report.started), ("ended", report.ended)):
        if moment is not None:
            document[name] = format_instant(moment)
    taken = {part.name: getattr(report.usage, part.name) for part in fields(report.usage)}
    document["usage"] = {name: value for name, value in taken.items() if value is not None}
    return document
