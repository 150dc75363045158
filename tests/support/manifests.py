"""The manifests in k8s/, built by kubectl's kustomize as install.sh builds them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from server import ROOT, clean_environment

K8S = ROOT / "k8s"
IMAGE = "registry.example.com/eci-profile:1.2.3"
URL = "https://eci.example.com"

Document = dict[str, Any]

KUBECTL = {"GOGC": "off"}
"""For its environment: it ends before Go's garbage collector would be of use."""

# Otherwise it reads the schemas and the list of them again for each document.
kubernetes_validate.utils.all_versions = cache(kubernetes_validate.utils.all_versions)
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed"
)


@dataclass(frozen=True)
class Choice:
    """What an administrator may ask install.sh for."""

    host: str
    certs: str = "self-renewing"
    url: str = ""
    components: tuple[str, ...] = ()
    profile: str = "kube-system/eci-profile"

    def __str__(self) -> str:
        words = (self.host, self.certs, self.url and "url", *self.components)
        name = "" if self.profile == Choice.profile else self.profile.replace("/", "-")
        return "-".join(filter(None, (*words, name)))

    @property
    def settings(self) -> dict[str, str]:
        """What the function is told by it."""
        namespace, name = self.profile.split("/")
        names = {"ECI_PROFILE_NAMESPACE": namespace, "ECI_PROFILE_NAME": name}
        return {
            **(names if self.profile != Choice.profile else {}),
            **({"ECI_PROFILE_BINDING": "1"} if BINDING in self.components else {}),
            **({"ECI_PROFILE_REGISTRATION": "eci-profile"} if NARROW in self.components else {}),
        }


BINDING = "effects-at-binding"
NARROW = "narrow-registration"
HOSTS = ("deployment", "knative", "openfaas")
CERTS = ("self-renewing", "self-signed", "cert-manager")
CHOICES = (
    *(Choice(host, certs) for host in HOSTS for certs in CERTS),
    *(Choice(host, url=URL) for host in (*HOSTS[1:], "external")),
    *(Choice(host, components=("on-virtual-node",)) for host in HOSTS),
    *(
        Choice(host, certs, components=(component,))
        for host, certs in (
            ("deployment", "self-renewing"),
            ("deployment", "self-signed"),
            ("knative", "cert-manager"),
        )
        for component in ("before-1.27", "before-1.21", "before-1.16")
    ),
    Choice("external", url=URL, components=("before-1.16",)),
    *(Choice(host, certs, components=(BINDING,)) for host, certs in zip(HOSTS, CERTS, strict=True)),
    *(Choice(host, url=URL, components=(BINDING,)) for host in (*HOSTS[1:], "external")),
    *(
        Choice(host, components=components, profile="team-a/123")
        for host in HOSTS
        for components in ((BINDING, "before-1.27"), ("before-1.21", BINDING, "on-virtual-node"))
    ),
    Choice("external", url=URL, components=(BINDING, "before-1.16"), profile="kube-system/acs"),
    *(Choice(host, components=(NARROW,)) for host in HOSTS),
    *(Choice(host, url=URL, components=(BINDING, NARROW)) for host in (*HOSTS[1:], "external")),
    *(Choice("deployment", certs, components=(NARROW, BINDING, "before-1.16")) for certs in CERTS),
    Choice("openfaas", components=("before-1.27", NARROW), profile="team-a/123"),
    Choice("knative", url=URL, profile="team-a/acs-profile.v2"),
)


def folders(kind: str) -> list[Path]:
    """The folders that have a kustomization of this kind: Kustomization or Component."""
    return sorted(
        path.parent
        for path in K8S.glob("[a-z]*/**/kustomization.yaml")
        if parsed(path.read_text())[0]["kind"] == kind
    )


@cache
def built(folder: Path) -> tuple[Document, ...]:
    """What `kubectl apply -k` would apply."""
    return _documents(["kubectl", "kustomize", str(folder)], {})


@cache
def rendered(choice: Choice) -> tuple[Document, ...]:
    """What `make install` would apply with kubectl alone."""
    return _documents([str(K8S / "install.sh"), "render"], variables(choice))


@cache
def one_file(choice: Choice) -> tuple[Document, ...]:
    """What `make manifest` prints."""
    return _documents([str(K8S / "install.sh"), "manifest"], {**variables(choice), "IMAGE": IMAGE})


def variables(choice: Choice) -> dict[str, str]:
    """What install.sh has to be told."""
    return {
        "HOST": choice.host,
        "CERTS": choice.certs,
        "IMAGE": IMAGE if choice.host != "external" else "",
        "URL": choice.url,
        "COMPONENTS": " ".join(choice.components),
        "PROFILE_NAMESPACE": choice.profile.split("/")[0],
        "PROFILE_NAME": choice.profile.split("/")[1],
    }


def administrator(kubeconfig: Path) -> dict[str, str]:
    """The environment of an administrator with kubectl, whose home is the folder of the file."""
    own = {"KUBECONFIG": str(kubeconfig), "HOME": str(kubeconfig.parent)}
    return {**clean_environment(), **KUBECTL, **own}


def _documents(command: list[str], variables: dict[str, str]) -> tuple[Document, ...]:
    environment = {**os.environ, **KUBECTL, **variables}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return parsed(result.stdout)


def parsed(text: str) -> tuple[Document, ...]:
    """The documents in this text, read by libyaml where PyYAML has it: in a tenth of the time."""
    return tuple(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def of_kind(documents: Iterable[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def only(documents: Iterable[Document], kind: str, name: str | None = None) -> Document:
    """The one document of a kind, perhaps of those of a name."""
    (found,) = (
        document
        for document in of_kind(documents, kind)
        if name in (None, document["metadata"]["name"])
    )
    return found


def pod_templates(documents: Iterable[Document]) -> Iterator[tuple[str, Document]]:
    """The pods that the documents make, each with the name of its workload."""
    for document in documents:
        if document["kind"] == "CronJob":
            document = {**document, "spec": document["spec"]["jobTemplate"]["spec"]}
        if "template" in document.get("spec", {}):
            yield document["metadata"]["name"], document["spec"]["template"]
