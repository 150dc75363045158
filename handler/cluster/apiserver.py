"""The ``cm`` provider: the API server of the cluster, through the kubernetes client.

The function gets single objects, creates Events, and patches its registration if configured. It
never lists or watches. Only the command line lists, and gets, creates and patches other objects.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import urllib3.connection
import yaml
from kubernetes import client, config
from pydantic import ConfigDict, Field, StrictStr, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated
from urllib3.exceptions import HTTPError

from ..shorten import shorten
from .source import (
    ConfigMap,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PodObject,
    SourceError,
)

__all__ = ["ClusterSource"]

_CONNECT_SECONDS = 1.0
_READ_SECONDS = 1.5
_MOST_BYTES = 8 * 2**20  # etcd stores objects of up to about 1.5 MiB
_PAGE_SIZE = 250  # objects: about 4 MB, since a pod with its managedFields has up to 16 kB
_PAGE_SECONDS = 60.0  # a page of a list, which only the command line reads
_MOST_PAGE_BYTES = 64 * 2**20
_LONGEST_MESSAGE = 1024  # the API server's limit for an Event's message
_REGISTRATION_VERSIONS = ("v1", "v1beta1")  # Kubernetes 1.15 has the second only
_PATCH = "application/merge-patch+json"

_Limits = tuple[float, int]
_OBJECT: _Limits = (_READ_SECONDS, _MOST_BYTES)
"""The limits of a read, in seconds and bytes."""

_KUBECONFIG = "~/.kube/config"
_CONNECTION = re.compile(r"^\S+\(host=[^)]*\): ")  # the prefix of urllib3's messages

_FORM = ConfigDict(alias_generator=to_camel)
_T = TypeVar("_T")


@validated(frozen=True, slots=True, config=_FORM)
class _Metadata:
    uid: StrictStr = ""
    resource_version: StrictStr = ""
    labels: dict[StrictStr, StrictStr] | None = None


@validated(frozen=True, slots=True)
class _ConfigMapForm:
    kind: Literal["ConfigMap"]
    metadata: _Metadata
    data: dict[StrictStr, StrictStr] | None = None


@validated(frozen=True, slots=True)
class _NamespaceForm:
    kind: Literal["Namespace"]
    metadata: _Metadata


@validated(frozen=True, slots=True)
class _NodeForm:
    kind: Literal["Node"]
    metadata: _Metadata


@validated(frozen=True, slots=True)
class _Owner:
    kind: StrictStr
    controller: bool | None = None


@validated(frozen=True, slots=True, config=_FORM)
class _PodMetadata:
    uid: StrictStr = ""
    labels: dict[StrictStr, StrictStr] | None = None
    annotations: dict[StrictStr, StrictStr] | None = None
    owner_references: list[_Owner] | None = None


@validated(frozen=True, slots=True)
class _PodForm:
    kind: Literal["Pod"]
    metadata: _PodMetadata


@validated(frozen=True, slots=True)
class _WebhookForm:
    name: StrictStr
    rules: list[dict[str, Any]] | None = None


@validated(frozen=True, slots=True, config=_FORM)
class _PatchedMetadata:
    resource_version: Annotated[StrictStr, Field(min_length=1)]  # without, a patch is unconditional


@validated(frozen=True, slots=True, config=_FORM)
class _RegistrationForm:
    api_version: Annotated[str, Field(pattern=r"^admissionregistration\.k8s\.io/v1(beta1)?$")]
    kind: Literal["MutatingWebhookConfiguration"]
    metadata: _PatchedMetadata
    webhooks: list[_WebhookForm] | None = None


@validated(frozen=True, slots=True)
class _VersionForm:
    major: int
    minor: Annotated[str, Field(pattern=r"^[0-9]+\+?$")]  # managed clusters append a plus


@validated(frozen=True, slots=True, config=_FORM)
class _ListMetadata:
    continue_: StrictStr = Field("", alias="continue")
    remaining_item_count: int | None = None


@validated(frozen=True, slots=True)
class _PageForm:
    kind: StrictStr
    metadata: _ListMetadata
    items: list[dict[str, Any]] | None = None


_CONFIG_MAP = TypeAdapter(_ConfigMapForm)
_NAMESPACE = TypeAdapter(_NamespaceForm)
_NODE = TypeAdapter(_NodeForm)
_POD = TypeAdapter(_PodForm)
_REGISTRATION = TypeAdapter(_RegistrationForm)
_VERSION = TypeAdapter(_VersionForm)
_PAGE = TypeAdapter(_PageForm)
_ANY = TypeAdapter(dict[str, Any])


class _Bounded:
    """Bounds the wait for the head of a response: urllib3 restarts its timeout with each byte."""

    def getresponse(self) -> Any:
        late = threading.Event()
        timer = threading.Timer(self.timeout, _give_up, [self.sock, late])  # type: ignore[attr-defined]
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()  # type: ignore[misc]
        except Exception as error:
            raise TimeoutError if late.is_set() else error from None
        finally:
            timer.cancel()


class _HTTPConnection(_Bounded, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_Bounded, urllib3.connection.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class ClusterSource:
    """Reads from the API server, with the credentials of KUBECONFIG, the pod, or ~/.kube/config.

    Raises SourceError if there are none. Connects at the first read.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._api = self._connect()

    def config_map(self, namespace: str, name: str) -> ConfigMap:
        """Get a ConfigMap."""
        found = self._read(
            _CONFIG_MAP, f"/api/v1/namespaces/{_segment(namespace)}/configmaps/{_segment(name)}"
        )
        return ConfigMap(found.data or {}, found.metadata.uid, found.metadata.resource_version)

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Get a namespace's labels."""
        return self._read(_NAMESPACE, f"/api/v1/namespaces/{_segment(name)}").metadata.labels or {}

    def node_labels(self, name: str) -> Mapping[str, str]:
        """Get a node's labels."""
        return self._read(_NODE, f"/api/v1/nodes/{_segment(name)}").metadata.labels or {}

    def pod(self, namespace: str, name: str) -> PodObject:
        """Get a pod."""
        path = f"/api/v1/namespaces/{_segment(namespace)}/pods/{_segment(name)}"
        found = self._read(_POD, path).metadata
        owners = found.owner_references or ()
        return PodObject(
            found.uid,
            found.labels or {},
            found.annotations or {},
            any(owner.controller and owner.kind == "DaemonSet" for owner in owners),
        )

    def registration(self, name: str) -> dict[str, Any]:
        """Get a MutatingWebhookConfiguration."""
        newest, oldest = (_registration_path(each, name) for each in _REGISTRATION_VERSIONS)
        try:
            content = self._call("GET", newest)
        except NotFoundError:
            content = self._call("GET", oldest)
        try:
            _REGISTRATION.validate_json(content)
        except ValidationError:
            raise SourceError("the API server did not return the requested object") from None
        found: dict[str, Any] = json.loads(content)
        return found

    def write_registration(self, name: str, registration: Mapping[str, Any]) -> None:
        """Patch the webhooks of a MutatingWebhookConfiguration that was read."""
        version = registration["apiVersion"].rpartition("/")[2]
        patch = {
            "metadata": {"resourceVersion": registration["metadata"]["resourceVersion"]},
            "webhooks": registration["webhooks"],
        }
        self.merge(_registration_path(version, name), patch)

    def version(self) -> tuple[int, int]:
        """Get the version of the cluster, such as (1, 30). Raises SourceError."""
        found = self._read(_VERSION, "/version")
        return found.major, int(found.minor.rstrip("+"))

    def pages(
        self, version: str, resource: str, kind: str
    ) -> Iterator[tuple[list[dict[str, Any]], int | None]]:
        """List the objects of a resource in all namespaces, page by page.

        ``version``: its group and version. With each page comes the number of objects that follow,
        if the API server gives it. Raises NotFoundError if there is no such resource,
        ForbiddenError, SourceError.
        """
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        query = {"limit": str(_PAGE_SIZE)}
        while True:
            path = f"{root}/{resource}?{urlencode(query)}"
            found = self._read(_PAGE, path, (_PAGE_SECONDS, _MOST_PAGE_BYTES))
            if found.kind != f"{kind}List":
                raise SourceError("the API server did not return the requested list")
            following = found.metadata.continue_
            remaining = found.metadata.remaining_item_count if following else 0
            items = [{**item, "apiVersion": version, "kind": kind} for item in found.items or ()]
            yield items, remaining
            if not following:
                return
            query["continue"] = following

    def get(self, path: str) -> dict[str, Any]:
        """Get an object by its path. Raises NotFoundError, SourceError."""
        return self._read(_ANY, path)

    def create(self, path: str, written: Mapping[str, Any]) -> None:
        """Create an object, in the collection at the path.

        Raises ConflictError if there is one of its name, SourceError.
        """
        self._call("POST", path, written)

    def merge(self, path: str, change: Mapping[str, Any]) -> None:
        """Apply a JSON merge patch (RFC 7386) to the object at the path.

        Raises NotFoundError, SourceError, and ConflictError if the patch has a resourceVersion that
        isn't the object's any more.
        """
        self._call("PATCH", path, change)

    def report(self, namespace: str, name: str, config_map: ConfigMap, message: str) -> None:
        """Create a Warning Event on the ConfigMap, at most one for each version of it."""
        about = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": namespace,
            "name": name,
            "uid": config_map.uid,
            "resourceVersion": config_map.resource_version,
        }
        event = f"{name[:200]}.invalid.{config_map.resource_version}"
        with contextlib.suppress(ConflictError):  # another replica has created it
            self.warn(about, event, "InvalidProfile", message)

    def warn(self, about: Mapping[str, Any], name: str, reason: str, message: str) -> None:
        """Create a Warning Event of this name about a namespaced object, beside it.

        Raises ConflictError, SourceError.
        """
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": about["namespace"]},
            "involvedObject": about,
            "type": "Warning",
            "reason": reason,
            "message": shorten(message, _LONGEST_MESSAGE),
            "source": {"component": "eci-profile"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self.create(f"/api/v1/namespaces/{_segment(about['namespace'])}/events", event)

    def _connect(self) -> client.ApiClient:
        configuration = client.Configuration()
        chosen = os.environ.get("KUBECONFIG")
        in_a_pod = "KUBERNETES_SERVICE_HOST" in os.environ
        try:
            if chosen or not in_a_pod:
                config.load_kube_config(chosen or _KUBECONFIG, client_configuration=configuration)
            else:
                config.load_incluster_config(configuration)
        except (config.ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            if chosen:
                credentials = f"KUBECONFIG={chosen}"
            elif in_a_pod:
                credentials = "the pod's service account"
            else:
                credentials = (
                    f"{_KUBECONFIG} (set KUBECONFIG, run in a pod, or use the provider file)"
                )
            reason = " ".join(str(error).split())
            raise SourceError(f"no access to the API server by {credentials}: {reason}") from None
        configuration.retries = False  # the cache decides when to ask again
        configuration.connection_pool_maxsize = self._threads
        api = client.ApiClient(configuration)
        pools = api.rest_client.pool_manager
        pools.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
        return api

    def _read(self, form: TypeAdapter[_T], path: str, limits: _Limits = _OBJECT) -> _T:
        try:
            return form.validate_json(self._call("GET", path, limits=limits))
        except ValidationError:
            raise SourceError("the API server did not return the requested object") from None

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        limits: _Limits = _OBJECT,
    ) -> bytes:
        used = self._api
        try:
            try:
                return _answer(used, method, path, body, limits)
            except client.ApiException as error:
                if error.status != 401:
                    raise
            # The token in a pod is rotated: read it again and retry once.
            self._api = self._connect()
            return _answer(self._api, method, path, body, limits)
        except client.ApiException as error:
            raise _source_error(error) from None
        except (HTTPError, OSError) as error:
            self._api = self._connect()  # the CA may have been rotated too
            reason = shorten(_CONNECTION.sub("", str(error)), 300)
            host = used.configuration.host
            raise SourceError(f"the API server {host} can't be reached: {reason}") from None


def _answer(
    api: client.ApiClient,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    limits: _Limits,
) -> bytes:
    """Send a request and return the body of the response.

    Does not use CoreV1Api: its import builds a model of every object of the API, which takes
    longer than the rest of the start, and 30 MB.
    """
    content_type = _PATCH if method == "PATCH" else "application/json"
    headers = {"Accept": "application/json", "Content-Type": content_type}
    request = api.param_serialize(
        method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
    )
    times = (_CONNECT_SECONDS, limits[0])
    response = api.call_api(*request, _request_timeout=times).response
    content = _body(response, *limits)
    if not 200 <= response.status < 300:
        error = client.ApiException(
            response.status, response.reason, body=content.decode(errors="replace")
        )
        error.headers = response.headers
        raise error
    return content


def _body(response: Any, seconds: float, most: int) -> bytes:
    """Read the whole body within the time limit, which applies to the body, not to each byte."""
    end = time.monotonic() + seconds
    body = bytearray()
    while chunk := response.read1(2**16):
        body += chunk
        if time.monotonic() > end:
            response.close()
            raise TimeoutError("the response takes too long")
        if len(body) > most:
            response.close()
            raise OSError("the response is too large")
    response.release_conn()
    return bytes(body)


def _give_up(connection: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _source_error(error: client.ApiException) -> SourceError:
    if not error.status:  # TLS
        return SourceError(
            f"the TLS connection to the API server failed: {shorten(str(error.reason), 300)}"
        )
    try:
        message = json.loads(error.body or "")["message"]
    except (ValueError, LookupError, TypeError):
        message = error.reason or ""
    kind = {403: ForbiddenError, 404: NotFoundError, 409: ConflictError}.get(
        error.status, SourceError
    )
    remedy = {
        401: "; the credentials are wrong or have expired",
        403: "; grant it to the service account",
        410: "; the list took too long, run the command again",
    }.get(error.status, "")
    retry_after = str((error.headers or {}).get("Retry-After", ""))
    return kind(
        f"the API server returned {error.status}: {shorten(str(message), 300)}{remedy}",
        float(retry_after) if retry_after.isdecimal() else 0.0,
    )


def _segment(name: str) -> str:
    return quote(name, safe="")


def _registration_path(version: str, name: str) -> str:
    group = f"/apis/admissionregistration.k8s.io/{version}"
    return f"{group}/mutatingwebhookconfigurations/{_segment(name)}"
