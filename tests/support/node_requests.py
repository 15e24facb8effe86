"""Requests, site rules and verdicts for the tests of what a node checks and answers."""

import copy
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from gateway.wire import kinds
from gateway.wire.documents import Document
from node_stub.appraisal import Appraisal
from node_stub.ledger import Amounts
from node_stub.policy import Verdict, conclude, examine
from node_stub.rules import DenyList, Estimate, Figure, Profile, SiteRules

NOW: Final = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
DIGEST: Final = "sha256:6e495692cc6f1cae2023f261f433d4691aa70b19416730f8301e45fbb74bc526"
IMAGE: Final = "registry.example.org/demo/heliophorus:1.0"

PROFILE: Final = Profile(
    session_costs=(
        Figure(kinds.MONETARY_COST, 0.1, 0.5, "Estimated monetary cost"),
        Figure(kinds.CARBON_COST, 5.0, 25.0),
    ),
    session_metrics=(Figure(kinds.COMPUTE_PERFORMANCE, 150.0, 200.0),),
    compute_costs=(Figure(kinds.MONETARY_COST, 0.05, 0.25, "Compute cost per hour"),),
    compute_metrics=(Figure(kinds.IO_THROUGHPUT, 100.0, 500.0),),
)

ESTIMATES: Final = {
    kinds.DOCKER_CONTAINER: Estimate(1, 0),
    kinds.SIMPLE_COMPUTE: Estimate(1, 10),
    kinds.SIMPLE_STORAGE: Estimate(1, 1),
    kinds.SIMPLE_DATA: Estimate(30, 10),
}

SITE: Final = SiteRules(
    limits=Amounts(cores=16, memory_gib=16, storage_gib=1000),
    deny=DenyList(
        port_paths=frozenset({"/admin"}),
        ports=frozenset({22}),
        notebooks=frozenset({"https://example.org/bad.ipynb"}),
        data_locations=frozenset({"https://example.org/bad.fits"}),
        s3_endpoints=frozenset({"https://s3.bad.example.org"}),
        ivoids=frozenset({"ivo://example.org/bad"}),
        skao_namespaces=frozenset({"forbidden"}),
        images=frozenset({"registry.example.org/bad/image:1", "sha256:bad"}),
        arguments=frozenset({"--bad"}),
    ),
    profile=PROFILE,
)

FULL: Final[Document] = {
    "executable": {
        "kind": kinds.DOCKER_CONTAINER,
        "meta": {"name": "cantliei", "description": "Finds butterflies"},
        "image": {
            "locations": [IMAGE],
            "digest": DIGEST,
            "platform": {"architecture": "amd64", "os": "linux"},
        },
        "command": ["10", "0"],
        "entrypoint": "/bin/run",
        "environment": {"MODE": "demo"},
        "network": {
            "ports": [
                {"access": True, "protocol": "HTTP", "path": "/app", "internal": {"port": 8080}},
                {"internal": {"port": 9090}},
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
                "meta": {"name": "in"},
                "path": "/input",
                "mode": "READWRITE",
                "resource": "obs",
            },
            {"kind": kinds.SIMPLE_VOLUME, "resource": "scratch"},
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
            "meta": {"name": "obs"},
            "storage": "scratch",
            "location": "https://example.org/data/obs.fits",
        }
    ],
    "schedule": {"requested": {"duration": "PT10M", "start": "2026-08-03T09:05:00Z/PT30M"}},
    "costs": [{"kind": kinds.MINMAX_COST, "type": kinds.MONETARY_COST, "max": 1.0}],
    "metrics": [{"kind": kinds.MINMAX_METRIC, "type": kinds.COMPUTE_PERFORMANCE, "min": 50.0}],
}
"""A request that uses everything and that SITE can meet without a word."""

MINIMAL: Final[Document] = {
    "executable": {
        "kind": kinds.DOCKER_CONTAINER,
        "image": {"locations": [IMAGE], "digest": DIGEST},
        "privileged": False,
    }
}

OTHER_DATA: Final[list[Document]] = [
    {
        "kind": kinds.S3_DATA,
        "meta": {"name": "s3"},
        "endpoint": "https://s3.example.org",
        "template": "https://s3.example.org/{bucket}/{object}",
        "bucket": "my-bucket",
        "object": "my-object.fits",
    },
    {
        "kind": kinds.IVOA_DATA,
        "meta": {"name": "ivoa"},
        "ivoa": {"ivoid": "ivo://example.com/valid", "obscore": {"obs_id": "x", "calib_level": 2}},
    },
    {
        "kind": kinds.RUCIO_DATA,
        "meta": {"name": "rucio"},
        "rucio": {"scope": "testing", "object": "f1", "type": "FILE"},
    },
    {
        "kind": kinds.SKAO_DATA,
        "meta": {"name": "skao"},
        "ivoa": {"ivoid": "ivo://skao.int/data?testing:f1"},
        "skao": {"namespace": "testing", "objectname": "f1", "datasize": 5 * 2**30 + 1},
    },
]
"""One valid data resource of each other kind, none of which names a storage resource."""


def minting() -> Callable[[], UUID]:
    """Gives UUIDs that can be foretold."""
    counter = itertools.count(1)
    return lambda: UUID(int=next(counter), version=4)


def changed(document: Document, **at: Any) -> Document:
    """A deep copy with some members set; ``a__0__b`` is the path /a/0/b, ``...`` removes."""
    result = copy.deepcopy(document)
    for path, value in at.items():
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("__"))
        target: Any = result
        for step in steps:
            target = target[step] if isinstance(step, int) else target.setdefault(step, {})
        if value is ...:
            del target[last]
        else:
            target[last] = value
    return result


def verdict_on(
    document: Document,
    site: SiteRules = SITE,
    now: datetime = NOW,
    appraisal: Appraisal | None = None,
) -> Verdict:
    """What the site says to the request, and its platform, by default without objections."""
    draft = examine(document, site=site, now=now, mint=minting())
    return conclude(draft, appraisal or Appraisal(ESTIMATES), site=site)


JUPYTER: Final[Document] = {
    "executable": {"kind": kinds.JUPYTER_NOTEBOOK, "location": "https://example.org/a.ipynb"}
}
SINGULARITY: Final[Document] = {
    "executable": {"kind": kinds.SINGULARITY_CONTAINER, "location": "library://a/b:1"}
}
S3, IVOA, RUCIO, SKAO = (dict(MINIMAL, data=[data]) for data in OTHER_DATA)
NAMELESS_COMPUTE = dict(MINIMAL, compute={"kind": kinds.SIMPLE_COMPUTE})
COST = {"kind": kinds.MINMAX_COST, "type": kinds.MONETARY_COST}
METRIC = {"kind": kinds.MINMAX_METRIC, "type": kinds.COMPUTE_PERFORMANCE}
BOTH = changed(
    FULL,
    storage__0__meta__name="obs",
    data__0__storage="obs",
    compute__volumes=[{"kind": kinds.SIMPLE_VOLUME, "resource": "obs"}],
)
"""A name that a data and a storage resource share."""
