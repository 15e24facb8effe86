"""When two trees are the same document."""

from typing import Any


def same(one: Any, other: Any) -> bool:
    """Whether they are equal with the same types: 1 is not 1.0, nor is it true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def texts_of(tree: Any) -> list[str]:
    """Every string in a tree, names of members among them."""
    if isinstance(tree, str):
        return [tree]
    if isinstance(tree, dict):
        return [text for name, value in tree.items() for text in (name, *texts_of(value))]
    if isinstance(tree, list):
        return [text for value in tree for text in texts_of(value)]
    return []
