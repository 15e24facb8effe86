"""Execution templates: what they are called, and by which words they are found. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.wire.documents import Document
from gateway.wire.views import view_of_request

UNTITLED: Final = "Untitled"
"""For a template that names neither itself nor what it runs."""

MAX_WORDS: Final = 8
"""Words that one search may have: each is one more pattern, and nobody remembers more."""

MAX_SAID: Final = 20_000
"""Characters of all that is said of a template by which it is found: ten abstracts of papers."""

MAX_TITLE: Final = 200
"""Characters of a title, as in the schema: names of components may be longer."""

_ABOUT: Final = "discovery"
_NUL: Final = "\0"
_WORD: Final = re.compile(r"[^\W_]+")
_KIND: Final = re.compile(r"/([^/]+?)(?:\.yaml)?$")


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it is kept: ``document`` is what runs, without the block ``discovery``.

    ``kinds`` are those of all components, placeholders among them.
    """

    document: Document
    title: str
    description: str | None
    keywords: tuple[str, ...]
    kinds: tuple[str, ...]

    def words(self) -> tuple[str, ...]:
        """The folded words it is found by: of its own texts, and of what is said of components."""
        texts = (self.title, self.description or "", *self.keywords, *_remarks(self.document))
        return tuple(sorted({*folded_words(" ".join(texts)[:MAX_SAID])}))

    def kind_names(self) -> tuple[str, ...]:
        """Its kinds, each as its URI and as the name at the end of that."""
        names = {*self.kinds, *(short_kind(kind) for kind in self.kinds)}
        return tuple(sorted(name for name in names if _NUL not in name))


def template_of(document: Document) -> Template:
    """Read a document that has passed its schema.

    What ``discovery`` does not say is taken from what the executable says of itself.
    """
    executed = {name: member for name, member in document.items() if name != _ABOUT}
    about = document.get(_ABOUT) or {}
    named = _meta(document), _meta(document["executable"])
    name = next((meta["name"] for meta in named if _is_text(meta.get("name"))), UNTITLED)
    said = next((meta["description"] for meta in named if _is_text(meta.get("description"))), None)
    # Times that say nothing definite are the nodes' to refuse, and tell no kinds.
    untimed = {name: member for name, member in executed.items() if name != "schedule"}
    return Template(
        document=executed,
        title=_kept(about.get("title") or name[:MAX_TITLE]) or UNTITLED,
        description=_kept(about.get("description") or said),
        keywords=tuple(dict.fromkeys(about.get("keywords") or ())),
        kinds=tuple(sorted(view_of_request(untimed).kinds)),
    )


def folded_words(text: str) -> list[str]:
    """The words of a text, without case and accents: letters and digits of any script.

    Twice, as a letter may get its case only once it is taken apart (Unicode §3.13, D146).
    """
    for _ in range(2):
        text = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(mark for mark in text if not unicodedata.combining(mark))
    return _WORD.findall(bare)


def folded(text: str) -> str:
    """A text by which keywords are the same."""
    return " ".join(folded_words(text))


def short_kind(kind: str) -> str:
    """The name at the end of a kind's URI: ``docker-container``."""
    found = _KIND.search(kind)
    return found[1] if found else kind


def _remarks(document: Document) -> Iterator[str]:
    """What is said of the components."""
    compute = document.get("compute") or {}
    for component in _components(document, compute):
        meta = _meta(component)
        yield from (meta[name] for name in ("name", "description") if _is_text(meta.get(name)))


def _components(document: Document, compute: Document) -> Iterable[Document]:
    yield document
    yield document["executable"]
    yield compute
    for listed in (document.get("storage"), document.get("data"), compute.get("volumes")):
        # The members of a compute resource of a kind that is not known can be anything.
        if isinstance(listed, list):
            yield from (item for item in listed if isinstance(item, dict))


def _meta(component: Document) -> Document:
    meta = component.get("meta")
    return meta if isinstance(meta, dict) else {}


def _kept(text: str | None) -> str | None:
    """The text without the one character that PostgreSQL keeps in no text."""
    return None if text is None else text.replace(_NUL, "")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
