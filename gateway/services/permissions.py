"""What each caller may do, by the settings' rules."""

from typing import Final

from gateway.domain.permissions import UNBOUND, Allowance, Permissions
from gateway.services.caller import Caller


class PermissionService:
    """Puts the rules together for whoever calls; the administrator is bound by none."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions
        self._has_rules = permissions != Permissions()
        self.groups: Final = frozenset(permissions.groups)
        """The groups that the rules speak of."""

    def allowance_of(self, caller: Caller) -> Allowance:
        """What the caller may do."""
        if caller.is_admin:
            return UNBOUND
        if not self._has_rules:
            return Allowance(caller.owner, caller.groups)
        return self._permissions.allowance(caller.owner, caller.groups)
