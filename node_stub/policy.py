"""Whether this site can run a request, and the request completed: pure, without clock and I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from gateway.wire.documents import Document
from node_stub.appraisal import Appraisal
from node_stub.checks.compute import check_compute
from node_stub.checks.constraints import check_constraints
from node_stub.checks.data import check_data
from node_stub.checks.executable import check_executable
from node_stub.checks.findings import Findings, block, text
from node_stub.checks.references import References
from node_stub.checks.schedule import Wish, check_schedule
from node_stub.checks.storage import check_storage, check_total
from node_stub.checks.volumes import check_volumes
from node_stub.component_plan import ComponentPlan, plan_components
from node_stub.fitting import Maximum
from node_stub.ledger import Amounts
from node_stub.rules import SiteRules
from node_stub.slots import Stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a site says to a request.

    ``messages`` may hold warnings also where it is possible; where it is not there is at least one,
    and all else is empty. ``document`` holds ``executable``, ``compute``, ``storage`` and ``data``
    with defaults filled in, references resolved and our own UUIDs. Instants are seconds since 1970:
    a start in one of the ``windows`` (both ends included, in order, none before now) is what the
    client wants, with the run inside one of the ``daily`` spans, where these are not None.
    """

    messages: tuple[Document, ...]
    is_possible: bool
    document: Document = field(default_factory=dict)
    need: Amounts = field(default_factory=Amounts)
    maximum: Maximum = field(default_factory=Maximum)
    duration_s: int = 0
    windows: tuple[tuple[int, int], ...] = ()
    daily: tuple[tuple[int, int], ...] | None = None
    plan: ComponentPlan = field(default_factory=ComponentPlan)

    @property
    def stages(self) -> Stages:
        """How long the session takes before and after its run, by the site's estimates."""
        return self.plan.stages


@dataclass(frozen=True, slots=True)
class Draft:
    """A request as far as the site's own rules can judge it, before the platform is asked.

    ``document`` is the completed request: incomplete where it is refused already.
    """

    request: Document
    document: Document
    findings: Findings

    @property
    def is_refused(self) -> bool:
        """Whether it is impossible here whatever the platform says."""
        return self.findings.is_refused()


def examine(
    document: Document, *, site: SiteRules, now: datetime, mint: Callable[[], UUID]
) -> Draft:
    """Check a request that its schema let through; nothing in it is changed.

    ``now`` has a time zone. ``mint`` gives a fresh UUID at each call.
    """
    findings = Findings(now)
    references = References(findings, mint)
    storage = check_storage(findings, site, document, references)
    data = check_data(findings, site, document, storage, references)
    compute = check_compute(findings, site, document, references.mint())
    volumes = check_volumes(findings, site, block(document, "compute"), references)
    if volumes:
        compute["volumes"] = volumes
    executable = check_executable(findings, site, document, references.mint())
    check_constraints(findings, site.profile, document)
    if not findings.is_refused():
        check_total(findings, site, storage)
    completed = {"executable": executable, "compute": compute, "storage": storage, "data": data}
    if description := text(block(document, "meta"), "description"):
        completed["meta"] = {"description": description}
    return Draft(document, completed, findings)


def conclude(draft: Draft, appraisal: Appraisal, *, site: SiteRules) -> Verdict:
    """The verdict, with what the platform says to the draft; of a refused one it need say nothing.

    Called once for each draft.
    """
    findings = draft.findings
    for remark in appraisal.remarks:
        findings.add(remark.reason, remark.path, **remark.values)
    # Parts that were refused are incomplete: there is nothing to estimate.
    is_sound = not findings.is_refused()
    plan = plan_components(draft.document, appraisal.estimate) if is_sound else ComponentPlan()
    wish = check_schedule(findings, site, draft.request, plan.stages.prepare_s)
    if findings.is_refused():
        return Verdict(messages=findings.messages(), is_possible=False)
    return _possible(findings, site, draft.document, plan, wish)


def _possible(
    findings: Findings, site: SiteRules, document: Document, plan: ComponentPlan, wish: Wish
) -> Verdict:
    cores, memory = document["compute"]["cores"], document["compute"]["memory"]
    sizes = [store["size"] for store in document["storage"]]
    need = Amounts(cores["min"], memory["min"], sum(size["min"] for size in sizes))
    storage_gib = sum(size.get("max", size["min"]) for size in sizes)
    return Verdict(
        messages=findings.messages(),
        is_possible=True,
        document=document,
        need=need,
        maximum=Maximum(
            cores=cores.get("max"),
            memory_gib=memory.get("max"),
            storage_gib=min(storage_gib, site.limits.storage_gib),
        ),
        duration_s=wish.duration_s,
        windows=wish.windows,
        daily=wish.daily,
        plan=plan,
    )
