"""Requests, offers and sessions to test with, and ways to spoil them."""

import copy
from collections.abc import Iterator
from typing import Any, TypeAlias

from gateway.wire import kinds
from gateway.wire.documents import Document

Path: TypeAlias = tuple[str | int, ...]
"""Steps to a value within a document."""

OFFER_UUID = "d1f0a6b2-8f0e-4d55-8d5b-7f1b5f3f9a10"
OFFERSET_UUID = "5b0c7d3e-6b0c-4d0a-9a52-0e2f4a1d7c01"
_CREATED = "2026-08-03T09:00:12.640118Z"


def request() -> Document:
    """A request that uses most members."""
    return {
        "executable": {
            "kind": kinds.DOCKER_CONTAINER,
            "meta": {"name": "analysis"},
            "image": {
                "locations": ["registry.example.org/analysis:1.2"],
                "digest": "sha256:" + "6e" * 32,
                "platform": {"architecture": "amd64", "os": "linux"},
            },
            "privileged": False,
            "command": ["10", "0", "--yes", "NO"],
            "environment": {"MODE": "demo", "EMPTY": "", "HALF": "0.5"},
            "network": {
                "ports": [
                    {"access": True, "protocol": "HTTP", "path": "/app", "internal": {"port": 8080}}
                ]
            },
        },
        "compute": {
            "kind": kinds.SIMPLE_COMPUTE,
            "meta": {"name": "cpu"},
            "cores": {"min": 2, "max": 4},
            "memory": {"min": 3, "max": 6},
            "volumes": [
                {
                    "kind": kinds.SIMPLE_VOLUME,
                    "path": "/input",
                    "mode": "READONLY",
                    "resource": "observation",
                }
            ],
        },
        "storage": [
            {
                "kind": kinds.SIMPLE_STORAGE,
                "meta": {"name": "scratch"},
                "size": {"min": 10, "max": 20},
            }
        ],
        "data": [
            {
                "kind": kinds.SIMPLE_DATA,
                "meta": {"name": "observation"},
                "storage": "scratch",
                "location": "https://example.org/data/observation.fits",
            },
            {
                "kind": kinds.SKAO_DATA,
                "ivoa": {"ivoid": "ivo://skao.int/data?testing:f1"},
                "skao": {
                    "namespace": "testing",
                    "objectname": "f1",
                    "objecttype": "FILE",
                    "datasize": 1024,
                    "checksum": {"type": "md5", "value": "abc"},
                    "replicas": [{"rsename": "RSE-1", "dataurl": "https://rse1.example.org/f1"}],
                },
            },
        ],
        "schedule": {
            "requested": {
                "duration": "PT10M",
                "start": ["2026-08-03T09:05:00Z/PT30M", "2026-08-04"],
                "daily": {"start": "09:00", "end": "17:00", "timezone": "Europe/London"},
            }
        },
        "costs": [{"kind": kinds.MINMAX_COST, "type": kinds.MONETARY_COST, "max": 1.0}],
        "metrics": [{"kind": kinds.MINMAX_METRIC, "type": kinds.COMPUTE_PERFORMANCE, "min": 50.0}],
    }


def _meta(digit: str, name: str) -> Document:
    return {
        "uuid": f"{digit * 8}-1a2b-4c3d-8e4f-{digit * 12}",
        "name": name,
        "url": f"https://alpha.example.org/{name}/{digit}",
        "created": _CREATED,
    }


def _schedule() -> Document:
    return {
        "preparing": {"start": "2026-08-03T09:05:59Z", "duration": "PT1S"},
        "available": {"start": "2026-08-03T09:06:00Z/PT5M", "duration": "PT20M"},
        "releasing": {"start": "2026-08-03T09:26:05Z", "duration": "PT10S"},
    }


def _cost(meaning: str, least: float, most: float) -> Document:
    return {"kind": kinds.MINMAX_COST, "type": meaning, "min": least, "max": most}


def _metric(meaning: str, least: float, most: float) -> Document:
    return {"kind": kinds.MINMAX_METRIC, "type": meaning, "min": least, "max": most}


def offer(**changes: Any) -> Document:
    """An offer that fills every kind of member; ``changes`` replace members at its top."""
    document: Document = {
        "kind": kinds.SCHEDULED_SESSION,
        "meta": {
            "uuid": OFFER_UUID,
            "name": "offer-0",
            "url": f"https://alpha.example.org/sessions/{OFFER_UUID}",
            "created": _CREATED,
            "messages": [
                {
                    "kind": "urn:example:capped",
                    "time": "2026-08-03T09:00:12Z",
                    "level": "INFO",
                    "template": "Cores were capped at ${limit}",
                    "values": {"limit": "4"},
                    "message": "Cores were capped at 4",
                }
            ],
            "options": [
                {"kind": kinds.ENUM_OPTION, "path": "phase", "values": ["ACCEPTED", "REJECTED"]}
            ],
        },
        "costs": [_cost(kinds.MONETARY_COST, 0.1, 0.5)],
        "metrics": [_metric(kinds.COMPUTE_PERFORMANCE, 150, 200.0)],
        "executable": request()["executable"]
        | {"meta": _meta("1", "analysis"), "phase": "INITIALIZING", "schedule": _schedule()},
        "compute": {
            "kind": kinds.SIMPLE_COMPUTE,
            "meta": _meta("2", "cpu"),
            "costs": [_cost(kinds.MONETARY_COST, 0.05, 0.25)],
            "metrics": [_metric(kinds.IO_THROUGHPUT, 100.0, 500.0)],
            "phase": "INITIALIZING",
            "schedule": _schedule(),
            "volumes": [
                {
                    "kind": kinds.SIMPLE_VOLUME,
                    "meta": _meta("3", "in"),
                    "path": "/input",
                    "mode": "READONLY",
                    "resource": _meta("5", "")["uuid"],
                }
            ],
            "cores": {"min": 4, "max": 4},
            "memory": {"min": 6, "max": 6},
        },
        "storage": [
            {
                "kind": kinds.SIMPLE_STORAGE,
                "meta": _meta("4", "scratch"),
                "phase": "INITIALIZING",
                "schedule": _schedule(),
                "data": [_meta("5", "")["uuid"]],
                "size": {"min": 10, "max": 20},
            }
        ],
        "data": [
            item | {"meta": _meta(digit, "observation"), "phase": "INITIALIZING"}
            for digit, item in zip("56", request()["data"], strict=True)
        ],
        "phase": "OFFERED",
        "expires": "2026-08-03T09:05:12.610337Z",
        "connectors": [
            {
                "kind": "urn:example:connector:http",
                "status": "PREPARING",
                "protocol": "HTTP",
                "location": "https://alpha.example.org:32771/app",
            }
        ],
        "schedule": _schedule(),
    }
    return document | changes


def offerset(*offers: Document) -> Document:
    """An offer set: YES with the offers, or NO with a message where there are none."""
    meta: Document = {
        "uuid": OFFERSET_UUID,
        "url": f"https://alpha.example.org/offersets/{OFFERSET_UUID}",
        "created": _CREATED,
    }
    if offers:
        result = {"result": "YES", "offers": list(offers)}
    else:
        refusal = {
            "kind": "urn:resource-limit",
            "time": "2026-08-03T09:02:40Z",
            "level": "WARN",
            "template": "Minimum cores exceed ${limit}",
            "values": {"limit": "16"},
            "message": "Minimum cores exceed 16",
        }
        meta["messages"] = [refusal]
        result = {"result": "NO"}
    return {"kind": kinds.OFFERSET, "meta": meta, **result}


def paths(tree: Any, above: Path = ()) -> Iterator[Path]:
    """The way to every value below the top."""
    steps: list[tuple[str | int, Any]] = []
    if isinstance(tree, dict):
        steps = list(tree.items())
    elif isinstance(tree, list):
        steps = list(enumerate(tree))
    for step, value in steps:
        yield (*above, step)
        yield from paths(value, (*above, step))


def at(tree: Any, path: Path) -> Any:
    """The value at a path."""
    for step in path:
        tree = tree[step]
    return tree


def replaced(tree: Document, path: Path, value: Any) -> Document:
    """A copy with another value at a path."""
    changed = copy.deepcopy(tree)
    at(changed, path[:-1])[path[-1]] = value
    return changed


def without(tree: Document, path: Path) -> Document:
    """A copy with nothing at a path."""
    changed = copy.deepcopy(tree)
    del at(changed, path[:-1])[path[-1]]
    return changed
