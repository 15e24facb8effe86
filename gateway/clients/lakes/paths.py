"""Identifiers in paths of URLs: what a client wrote must not lead to another resource."""

from typing import Final
from urllib.parse import quote

from gateway.clients.lakes.errors import LakeRequestError
from gateway.domain.holdings import Did

_STEPS: Final = frozenset({"", ".", ".."})


def did_path(did: Did) -> str:
    """``scope/name``, quoted. Slashes in the name stay: many servers refuse them quoted.

    Raises
    ------
    LakeRequestError
        Some server between here and there would take a part of it for a step up or to the side.
    """
    if "/" in did.scope or not _STEPS.isdisjoint((did.scope, *did.name.split("/"))):
        raise LakeRequestError(400, "InvalidPath")
    return f"{quote(did.scope, safe='')}/{quote(did.name)}"
