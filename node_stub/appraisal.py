"""What a platform says to a request before it is offered: refusals, times, and how it would run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.wire.documents import Document
from node_stub.reasons import Reason
from node_stub.rules import Estimate


@dataclass(frozen=True, slots=True)
class Remark:
    """A reason, the JSON pointer of the part of the request that it is about, and its values."""

    reason: Reason
    path: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """Whether and how a request would run.

    ``remarks`` of level ERROR refuse it; the others go with the offers. ``estimates`` are by the
    UUID of the component, else by its kind; what is missing takes no time.
    """

    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()

    def estimate(self, component: Document) -> Estimate:
        """How long this component takes."""
        by_uuid = self.estimates.get(component["meta"]["uuid"])
        return by_uuid or self.estimates.get(component["kind"]) or Estimate()

    def joined(self, other: "Appraisal") -> "Appraisal":
        """Both together; of two times for one component the other's counts."""
        return Appraisal({**self.estimates, **other.estimates}, (*self.remarks, *other.remarks))
