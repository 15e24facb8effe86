"""JSON merge patch: a document that says how another is to be changed.

Source: RFC 7396.
"""

from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """The target as the patch wants it; neither of the two is changed.

    Members that are null in the patch are removed, objects are merged, and everything else, lists
    too, takes the place of what was there (RFC 7396 §2).
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
