"""Requests that real nodes can satisfy."""

from typing import Any

from gateway.wire import kinds
from gateway.wire.documents import Document


def minimal_request(**members: Any) -> Document:
    """A small container for a minute, as soon as may be; ``members`` replace some at its top."""
    request: Document = {
        "executable": {
            "kind": kinds.DOCKER_CONTAINER,
            "meta": {"name": "analysis"},
            "image": {
                "locations": ["registry.example.org/analysis:1.2"],
                "digest": "sha256:" + "6e" * 32,
            },
        },
        "compute": {
            "kind": kinds.SIMPLE_COMPUTE,
            "cores": {"min": 1},
            "memory": {"min": 1},
        },
        "schedule": {"requested": {"duration": "PT1M"}},
    }
    return request | members
