"""In which order the components of a session get ready and are cleared away, and how long it takes.

Storage, then the data on it, beside the executable; then compute. Clearing away runs backwards:
compute, then data beside the executable, then storage.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.wire.documents import Document
from node_stub.rules import Estimate
from node_stub.slots import Stages


@dataclass(frozen=True, slots=True)
class Share:
    """One component's part of the session's stages, in whole seconds.

    ``prepare_from_s`` and ``prepare_to_s`` count from the beginning of the session's preparing,
    ``release_from_s`` and ``release_to_s`` from the end of its run.
    """

    prepare_from_s: int
    prepare_to_s: int
    release_from_s: int
    release_to_s: int


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """The shares of all components by UUID, within the stages of the session."""

    stages: Stages = field(default_factory=Stages)
    shares: Mapping[str, Share] = field(default_factory=dict)


def plan_components(document: Document, estimate: Callable[[Document], Estimate]) -> ComponentPlan:
    """The plan of a completed request; ``estimate`` tells how long a component takes."""
    stores = {store["meta"]["uuid"]: estimate(store) for store in document["storage"]}
    executable = estimate(document["executable"])
    compute = estimate(document["compute"])
    shares: dict[str, Share] = {}
    cleared = dict.fromkeys(stores, compute.release_s)
    for item in document["data"]:
        uuid, store = item["meta"]["uuid"], item["storage"]
        takes, begin = estimate(item), stores[store].prepare_s
        end = compute.release_s + takes.release_s
        shares[uuid] = Share(begin, begin + takes.prepare_s, compute.release_s, end)
        cleared[store] = max(cleared[store], end)
    for uuid, takes in stores.items():
        end = cleared[uuid] + takes.release_s
        shares[uuid] = Share(0, takes.prepare_s, cleared[uuid], end)
    shares[document["executable"]["meta"]["uuid"]] = Share(
        0, executable.prepare_s, compute.release_s, compute.release_s + executable.release_s
    )
    inputs_s = max(share.prepare_to_s for share in shares.values())
    prepare_s = inputs_s + compute.prepare_s
    shares[document["compute"]["meta"]["uuid"]] = Share(inputs_s, prepare_s, 0, compute.release_s)
    release_s = max(share.release_to_s for share in shares.values())
    return ComponentPlan(Stages(prepare_s, compute.prepare_s, release_s), shares)
