"""The files in ``k8s/`` as a cluster gets them: put together by kubectl, without a cluster."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.wire.documents import Document
from tests.support.required import required

K8S: Final = Path(__file__).resolve().parents[2] / "k8s"
OVERLAYS: Final = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))

RENDER_S: Final = 30.0


def section_of_the_readme() -> str:
    """What the README says of it."""
    text = (K8S.parent / "README.md").read_text()
    return (
        text.partition("\n### Deploy on Kubernetes\n")[2]
        .partition("\n## ")[0]
        .partition("\n### ")[0]
    )


@cache
def rendered(overlay: str) -> Sequence[Document]:
    """Every object of an overlay."""
    kubectl = shutil.which("kubectl")
    required("kubectl", kubectl is not None, "overlays cannot be put together")
    assert kubectl is not None
    command = [kubectl, "kustomize", str(K8S / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RENDER_S, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(kind: str, objects: Sequence[Document]) -> list[Document]:
    """Those of one kind."""
    return [one for one in objects if one["kind"] == kind]


def pods_of(objects: Sequence[Document]) -> list[Document]:
    """The template of the pods of every workload."""
    return [one["spec"]["template"] for one in objects if "template" in one.get("spec", {})]


def in_file(name: str) -> Document:
    """The one object in a file below ``k8s/``, as it is before overlays change it."""
    document: Document = yaml.safe_load((K8S / name).read_text())
    return document


def values_of(key: str, tree: Any) -> Iterator[Any]:
    """What stands under a key, anywhere in a tree."""
    if isinstance(tree, list):
        for item in tree:
            yield from values_of(key, item)
    elif isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from values_of(key, value)
