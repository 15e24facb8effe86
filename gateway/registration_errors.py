"""Why somebody does not get into the federation, one class a cause."""

from typing import Final

from gateway.wire.problem import ProblemError

REFUSED: Final = (
    "The registration token is not known, used up or over; ask the administrator for a new one."
)
"""One text for all of it: who guesses tokens learns nothing."""

BEARER: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
"""The challenge of a 401 for bearer tokens (RFC 6750 §3)."""


class BadRegistrationTokenError(ProblemError):
    """The token opens nothing, or nothing any more."""

    slug = "bad-registration-token"
    title = "Registration token refused"
    status = 401

    def __init__(self) -> None:
        super().__init__(REFUSED, headers=BEARER)


class MayNotRegisterError(ProblemError):
    """The caller may not bring nodes into the federation."""

    slug = "may-not-register"
    title = "Not allowed to register nodes"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "Nodes are registered with a registration token (Authorization: Bearer ebr_…), which "
            "the administrator makes with `execbroker admin token`, or by members of the groups in "
            "the setting registration.groups."
        )


class OtherNodeError(ProblemError):
    """The credentials are those of another node, or for one."""

    slug = "other-node"
    title = "Credentials of another node"
    status = 403

    def __init__(self, name: str, own: str) -> None:
        super().__init__(f"These credentials are for node {own!r}, not for {name!r}.")


class NotForNodesError(ProblemError):
    """Only the administrator may change this."""

    slug = "not-for-nodes"
    title = "For the administrator alone"
    status = 403

    def __init__(self, members: list[str]) -> None:
        super().__init__(
            f"A node may not change its own {', '.join(members)}: the administrator does."
        )


class NotMemberError(ProblemError):
    """Only the node itself or the administrator may do this."""

    slug = "not-the-node"
    title = "Not yours to change"
    status = 403

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Only node {name!r} itself, with its own credential, or the administrator may do this."
        )


class NameTakenError(ProblemError):
    """Another node has the name."""

    slug = "node-name-taken"
    title = "The name is taken"
    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a node named {name!r} already. Choose another name; if it is yours and its "
            "credential is lost, ask the administrator for a token with this name."
        )


class ConfiguredNodeError(ProblemError):
    """The node is from the settings file, and stays as long as it is there."""

    slug = "configured-node"
    title = "The node is in the settings"
    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Node {name!r} is in the gateway's settings file: take it out there, or drain or "
            "disable it with PATCH."
        )


class UnknownMemberError(ProblemError):
    """No such node, or not one that this caller may see."""

    slug = "node-not-found"
    title = "Node not found"
    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no node {name!r} here, or you may not use it. A node that was "
            "forgotten registers anew with POST /nodes."
        )


class UnknownTokenError(ProblemError):
    """No registration token of that UUID."""

    slug = "token-not-found"
    title = "Registration token not found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no registration token of that UUID; it may be used up or over.")


class UnusableUrlError(ProblemError):
    """The URL can be that of no node."""

    slug = "unusable-url"
    title = "URL cannot be used"
    status = 422

    def __init__(self, fault: str) -> None:
        super().__init__(f"The url {fault}.")


class UnprovenUrlError(ProblemError):
    """Who registers has not shown that the URL is theirs."""

    slug = "unproven-url"
    title = "URL not proven"
    status = 422

    def __init__(self, why: str) -> None:
        super().__init__(f"The gateway has tried the url: {why}.")


class NoSecretKeyError(ProblemError):
    """The gateway cannot keep the node's password or token."""

    slug = "no-secret-key"
    title = "Credentials cannot be kept"
    status = 422

    def __init__(self) -> None:
        super().__init__(
            "This gateway keeps no passwords or tokens of nodes, since it has no key to seal them "
            "with: set secret_key_env or secret_key_file in its settings, or register with "
            "credentials of type none or pass_through."
        )
