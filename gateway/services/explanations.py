"""Why an offer set is as it is, and what another policy would have made of it. Asks nobody."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from gateway.domain.explaining import compare, explain
from gateway.domain.policies import Policy, PolicyError, policies_from_settings
from gateway.domain.record import (
    RankingRecord,
    RecordVersionError,
    record_from_json,
    replay,
)
from gateway.errors import (
    InvalidPolicyError,
    NotReplayableError,
    UnknownOfferSetError,
    UnknownPolicyError,
)
from gateway.services.appraisal import read_request
from gateway.services.caller import Caller
from gateway.services.nested_explanations import NestedExplanations
from gateway.services.offer_book import OfferBook
from gateway.stores.offersets import OfferSetRow
from gateway.wire.documents import Document, from_json

ASKED_POLICY = "asked"
"""The name of a policy that consists of the weights in the question."""


@dataclass(frozen=True, slots=True)
class RankingQuestion:
    """How to rank instead. None is as it was.

    ``weights``, ``references`` and ``priors`` are those of a policy as the settings write it.
    """

    policy: str | None = None
    weights: Mapping[str, Any] | None = None
    references: Mapping[str, Any] = field(default_factory=dict)
    priors: Mapping[str, Any] = field(default_factory=dict)
    per_node: int | None = None
    limit: int | None = None


class ExplanationService:
    """Reads the saved inputs of rankings. ``shows_replicas``: also from where data would come.

    What gateways below did is asked of them, for ``wait_s`` at most.
    """

    def __init__(
        self,
        book: OfferBook,
        policies: Mapping[str, Policy],
        nested: NestedExplanations,
        *,
        shows_replicas: bool,
        wait_s: float,
    ) -> None:
        self._book = book
        self._nested = nested
        self._wait_s = wait_s
        self._policies = policies
        self._shows_replicas = shows_replicas

    async def explain(
        self, uuid: UUID, caller: Caller, *, budget_s: float | None = None
    ) -> Document:
        """Everything that decided the offer set; ``below``, what gateways among the nodes say.

        ``budget_s`` is how long a gateway above still waits.

        Raises
        ------
        UnknownOfferSetError
            There is none, or the caller may not read it.
        NotReplayableError
            It was ranked by another version.
        """
        row, record = await self._saved(uuid, caller)
        coverage = from_json(row.federation)["coverage"]
        wait_s = self._wait_s if budget_s is None else min(budget_s, self._wait_s)
        explanation = explain(
            replay(record),
            read_request(from_json(row.request)),
            offerset=uuid,
            coverage=coverage,
            shows_sources=self._shows_replicas or caller.is_admin,
        )
        below = await self._nested.read(coverage, caller, wait_s)
        return explanation | {"below": below} if below else explanation

    async def rank(self, uuid: UUID, question: RankingQuestion, caller: Caller) -> Document:
        """The order that the question leads to, beside the one that was given out.

        Raises
        ------
        UnknownOfferSetError
            There is none, or the caller may not read it.
        NotReplayableError
            It was ranked by another version.
        UnknownPolicyError, InvalidPolicyError
            The question names no policy, or makes none.
        """
        policy = self._policy(question)
        _, record = await self._saved(uuid, caller)
        asked = replace(
            record,
            per_node=question.per_node or record.per_node,
            limit=question.limit or record.limit,
        )
        return compare(replay(record), replay(asked, policy), offerset=uuid)

    async def _saved(self, uuid: UUID, caller: Caller) -> tuple[OfferSetRow, RankingRecord]:
        found = await self._book.read(uuid)
        if found is None or not caller.can_read(found[0].owner):
            raise UnknownOfferSetError(uuid)
        row = found[0]
        try:
            return row, record_from_json(row.record)
        except RecordVersionError as error:
            raise NotReplayableError(uuid) from error

    def _policy(self, question: RankingQuestion) -> Policy | None:
        """The policy that is asked for; None is the saved one."""
        if question.weights is not None:
            parts = {
                "weights": question.weights,
                "references": question.references,
                "priors": question.priors,
            }
            try:
                return policies_from_settings({ASKED_POLICY: parts})[ASKED_POLICY]
            except PolicyError as error:
                raise InvalidPolicyError(error.faults) from error
        if question.policy is None:
            return None
        policy = self._policies.get(question.policy)
        if policy is None:
            raise UnknownPolicyError(question.policy, sorted(self._policies))
        return policy
