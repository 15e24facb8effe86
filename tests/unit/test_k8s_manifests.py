"""What a cluster gets from ``k8s/`` is what Kubernetes takes, and its parts belong together."""

from collections.abc import Iterator
from typing import Final

import kubernetes_validate
import pytest

from gateway.wire.documents import Document
from tests.support.kustomize import (
    OVERLAYS,
    in_file,
    of_kind,
    pods_of,
    rendered,
    section_of_the_readme,
    values_of,
)

OLDEST: Final = "1.27"
"""Before it, ``unhealthyPodEvictionPolicy`` had to be switched on."""

OF_OTHERS: Final = {"ServiceMonitor"}
"""Kinds that are not Kubernetes's own, and so not in its schemas."""

MADE_BY_HAND: Final = {"gateway-secrets", "gateway-tls"}

everywhere: Final = pytest.mark.parametrize("overlay", OVERLAYS)


def test_the_overlays_are_those_that_the_readme_tells_of() -> None:
    section = section_of_the_readme()
    assert OVERLAYS
    assert [name for name in OVERLAYS if f"`{name}`" not in section] == []


@everywhere
@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_kubernetes_takes_every_object(overlay: str, version: str) -> None:
    for one in rendered(overlay):
        if one["kind"] not in OF_OTHERS:
            kubernetes_validate.validate(one, version, strict=True)


@everywhere
def test_everything_is_in_one_namespace_and_no_secret_is_among_it(overlay: str) -> None:
    objects = rendered(overlay)
    assert not of_kind("Secret", objects)
    (namespace,) = of_kind("Namespace", objects)
    # The one in which the README has the secret made.
    assert namespace == in_file("base/namespace.yaml")
    inside = {one["metadata"].get("namespace") for one in objects if one is not namespace}
    assert inside == {namespace["metadata"]["name"]}


@everywhere
def test_every_selector_finds_something(overlay: str) -> None:
    objects = rendered(overlay)
    pods = [pod["metadata"]["labels"] for pod in pods_of(objects)]
    services = [one["metadata"].get("labels", {}) for one in of_kind("Service", objects)]
    for one, selector in selectors(overlay):
        among = services if one["kind"] == "ServiceMonitor" else pods
        assert any(selector.items() <= labels.items() for labels in among), (one, selector)


def selectors(overlay: str) -> Iterator[tuple[Document, Document]]:
    """Every set of labels by which an object finds pods or services of ours."""
    for one in rendered(overlay):
        spec = one.get("spec", {})
        if one["kind"] == "Service":
            yield one, spec["selector"]
        for key in ("selector", "podSelector", "labelSelector"):
            for selector in values_of(key, spec):
                labels = selector.get("matchLabels", {})
                if set(labels) == {"app.kubernetes.io/name"}:
                    yield one, labels


@everywhere
def test_every_name_that_an_object_refers_to_is_there(overlay: str) -> None:
    objects = rendered(overlay)
    known = {(one["kind"], one["metadata"]["name"]) for one in objects}
    known |= {("Secret", name) for name in MADE_BY_HAND}
    spec = [one["spec"] for one in objects if "spec" in one]
    needed = {("ConfigMap", found["name"]) for found in values_of("configMap", spec)}
    needed |= {("PersistentVolumeClaim", name) for name in values_of("claimName", spec)}
    needed |= {("Secret", name) for name in values_of("secretName", spec)}
    needed |= {("Service", found["name"]) for found in values_of("service", spec)}
    needed |= {("Service", name) for name in values_of("serviceName", spec)}
    needed |= {(found["kind"], found["name"]) for found in values_of("scaleTargetRef", spec)}
    assert needed <= known
    assert {one for one in known if one[0] == "ConfigMap"} <= needed


@everywhere
def test_every_named_port_is_one_of_the_pods_or_services(overlay: str) -> None:
    objects = rendered(overlay)
    containers = [c for pod in pods_of(objects) for c in pod["spec"]["containers"]]
    known = {port["name"] for c in containers for port in c["ports"]}
    specs = [one["spec"] for one in objects if "spec" in one]
    named = [*values_of("port", specs), *values_of("targetPort", specs)]
    named = [port["name"] if isinstance(port, dict) else port for port in named]
    assert {port for port in named if isinstance(port, str)} <= known
    for service in of_kind("Service", objects):
        assert {port["name"] for port in service["spec"]["ports"]} <= known


@everywhere
def test_every_pod_has_no_rights_and_nothing_to_write_to_but_its_volumes(overlay: str) -> None:
    """By the profile `restricted`, https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    for pod in pods_of(rendered(overlay)):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= container["resources"].keys()
        mounted = {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}
        claimed = {"data"} if overlay == "trial-postgres" else set()
        assert mounted <= {volume["name"] for volume in spec["volumes"]} | claimed


@everywhere
def test_no_placeholder_is_left_for_an_image(overlay: str) -> None:
    images = list(values_of("image", [pod["spec"] for pod in pods_of(rendered(overlay))]))
    assert images
    assert all("execbroker" not in image or "/" in image for image in images)
    assert all(image.rpartition(":")[2] not in {"", "latest"} for image in images)


@everywhere
def test_gateways_are_many_on_postgres_alone_and_none_is_missed_while_they_roll(
    overlay: str,
) -> None:
    objects = rendered(overlay)
    (deployment,) = of_kind("Deployment", objects)
    (settings,) = of_kind("ConfigMap", objects)
    spec, autoscalers = deployment["spec"], of_kind("HorizontalPodAutoscaler", objects)
    if "database: sqlite:" in settings["data"]["gateway.yaml"]:
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
        assert not autoscalers
        return
    # What an autoscaler counts, nobody else sets.
    counts = [one["spec"]["minReplicas"] for one in autoscalers] or [spec["replicas"]]
    assert counts == [2]
    assert ("replicas" in spec) != bool(autoscalers)
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
