"""How often a gateway may repeat calls to one node: little while the node fails, freely when well.

Source: gRPC proposal A6, "Throttling Retry Attempts and Hedged RPCs": a bucket of 10 tokens, a
failure takes one, a success gives a tenth, and below half nothing is repeated.
"""

from typing import Final

TENTHS_FULL: Final = 100
"""A full bucket, in tenths of a token: ten tokens."""

TENTHS_PER_FAILURE: Final = 10
TENTHS_PER_SUCCESS: Final = 1


class RetryBudget:
    """The bucket of one node. Counts in tenths, so that nothing is ever rounded."""

    __slots__ = ("_tenths",)

    def __init__(self) -> None:
        self._tenths = TENTHS_FULL

    @property
    def tokens(self) -> float:
        """What is in the bucket, 0 to 10."""
        return self._tenths / 10

    def succeeded(self) -> None:
        """A call was answered."""
        self._tenths = min(TENTHS_FULL, self._tenths + TENTHS_PER_SUCCESS)

    def failed(self) -> None:
        """A call was not, a repeated one included."""
        self._tenths = max(0, self._tenths - TENTHS_PER_FAILURE)

    def allows(self) -> bool:
        """Whether a call may be repeated now; asking costs nothing, a failure will."""
        return self._tenths > TENTHS_FULL // 2
