"""Reading of documents, whose members may be missing or of any type where no schema knows them."""

from gateway.wire.documents import Document


def text(document: Document, member: str) -> str | None:
    """The member if it is a string that says something."""
    value = document.get(member)
    return value if isinstance(value, str) and value.strip() else None


def block(document: Document, member: str) -> Document:
    """The member if it is an object, else an empty one."""
    value = document.get(member)
    return value if isinstance(value, dict) else {}


def components(document: Document, member: str) -> list[Document]:
    """The objects of a list member; what is no object becomes an empty one, to keep the places."""
    value = document.get(member)
    items = value if isinstance(value, list) else []
    return [item if isinstance(item, dict) else {} for item in items]


def whole(document: Document, member: str) -> int | None:
    """The member if it is an integer."""
    value = document.get(member)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
