"""What runs in a cluster that was installed by one file: its Jobs, its kubelet and its pods."""

from __future__ import annotations

import base64
import contextlib
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apiserver import APIServer, granted
from cli import Result
from cli import run as run_handler
from cryptography import x509
from hosts import container
from local import logging_as_before
from manifests import Choice, Document, one_file, only, pod_templates
from server import ROOT, clean_environment

NAMESPACE = "eci-profile"
DNS_NAME = "eci-profile.eci-profile.svc"
REGISTRATIONS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
JOB = "install"
CRON_JOB = "certificates"


@dataclass
class Cluster:
    """A cluster with what the file for a choice has created, but its Jobs have not run yet."""

    api: APIServer
    directory: Path
    choice: Choice

    @property
    def documents(self) -> tuple[Document, ...]:
        return one_file(self.choice)

    def apply(self) -> None:
        """Create the objects, as kubectl does, in an empty cluster."""
        plurals = {"Endpoints": "endpoints"}
        for document in self.documents:
            version, kind = document["apiVersion"], document["kind"]
            plural = plurals.get(kind, f"{kind.lower()}s".replace("ys", "ies"))
            namespace = document["metadata"].get("namespace", "")
            self.api.put(version, plural, namespace, document)

    def command(self, job: str, *more: str) -> tuple[list[str], dict[str, str]]:
        """The arguments of a Job, by the manifest, and its environment: its account's rights."""
        (spec,) = (
            template["spec"]
            for _, template in pod_templates(self.documents)
            if template["spec"]["containers"][0]["name"] == job
        )
        python, module, package, *arguments = spec["containers"][0]["command"]
        assert (python, module, package) == ("python", "-m", "handler")
        token = f"{job}-{uuid.uuid4().hex}"
        self.api.grants[token] = granted(self.documents, spec["serviceAccountName"])
        kubeconfig = self.directory / f"{token}.kubeconfig"
        self.api.write_kubeconfig(kubeconfig, token=token)
        return [*arguments, *more], {"KUBECONFIG": str(kubeconfig)}

    def start(self, job: str, *more: str) -> subprocess.Popen[str]:
        """Start a Job in a process of its own."""
        arguments, environment = self.command(job, *more)
        return subprocess.Popen(
            [sys.executable, "-m", "handler", *arguments],
            cwd=ROOT,
            env={**clean_environment(), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, job: str, *more: str) -> Result:
        """Run a Job to its end, in this process, which takes less time."""
        arguments, environment = self.command(job, *more)
        with logging_as_before():
            return run_handler(*arguments, environment=environment)

    def done(self, job: str, *more: str) -> str:
        """Run a Job, which must succeed, and return its log."""
        result = self.run(job, *more)
        assert result.returncode == 0, result.stderr
        return result.stderr

    def secret(self, name: str) -> dict[str, bytes]:
        data = self.api.get("v1", "secrets", NAMESPACE, name).get("data") or {}
        return {key: base64.b64decode(value) for key, value in data.items()}

    def put_secret(self, name: str, data: dict[str, bytes]) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        written = {"kind": "Secret", "metadata": {"name": name}, "data": encoded}
        self.api.put("v1", "secrets", NAMESPACE, written)

    def put_endpoints(self, *ports: int, ready: bool = True) -> None:
        """Have the Service lead to these ports of loopback."""
        subsets = [
            {
                "addresses" if ready else "notReadyAddresses": [{"ip": "127.0.0.1"}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }
            for port in ports
        ]
        written = {"kind": "Endpoints", "metadata": {"name": "eci-profile"}, "subsets": subsets}
        self.api.put("v1", "endpoints", NAMESPACE, written)

    def registration(self, resource: str) -> Document:
        (found,) = self._registrations(resource)
        return found

    def _registrations(self, *resources: str) -> list[Document]:
        return [found for key, found in self.api.objects.items() if key[1] in resources]

    def webhooks(self) -> list[dict[str, Any]]:
        """Those of both registrations."""
        return [
            webhook
            for found in self._registrations(*REGISTRATIONS)
            for webhook in found.get("webhooks", [])
        ]

    def bundle(self) -> bytes:
        """The CAs that all webhooks trust."""
        (found,) = {webhook["clientConfig"]["caBundle"] for webhook in self.webhooks()}
        return base64.b64decode(found)

    def trust(self) -> ssl.SSLContext:
        """What kube-apiserver uses to call the first webhook."""
        bundle = base64.b64decode(self.webhooks()[0]["clientConfig"]["caBundle"])
        context = ssl.create_default_context(cadata=bundle.decode())
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.hostname_checks_common_name = False
        return context

    @contextlib.contextmanager
    def pod(self, name: str) -> Iterator[Pod]:
        """A replica of the function, with the certificate of the Secret mounted."""
        mounted = Mounted(self.directory / f"{name}-tls")
        mounted.take(self.secret("eci-profile-tls"))
        environment = {
            "ECI_PROFILE_PROVIDER": "file",
            "ECI_PROFILE_FILE": str(ROOT / "k8s" / "sample" / "profile.yaml"),
            "ECI_PROFILE_TLS_DIR": str(mounted.directory),
        }
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        with container(environment, self.directory / f"{name}.log", unverified) as server:
            yield Pod(server.port, mounted, self)


@dataclass
class Mounted:
    """A Secret's files in a pod: the kubelet replaces all of them at once."""

    directory: Path
    _versions: int = 0

    def take(self, data: dict[str, bytes]) -> None:
        self.directory.mkdir(exist_ok=True)
        self._versions += 1
        version = self.directory / f"..version-{self._versions}"
        version.mkdir()
        for name in ("tls.crt", "tls.key"):
            (version / name).write_bytes(data[name])
        link = self.directory / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(self.directory / "..data")
        for name in ("tls.crt", "tls.key"):
            with contextlib.suppress(FileExistsError):
                (self.directory / name).symlink_to(f"..data/{name}")


@dataclass
class Pod:
    port: int
    mounted: Mounted
    cluster: Cluster

    def take_up(self) -> None:
        """Mount the Secret as it is now."""
        self.mounted.take(self.cluster.secret("eci-profile-tls"))


def loaded(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def job_name(choice: Choice) -> str:
    return str(only(one_file(choice), "Job")["metadata"]["name"])
