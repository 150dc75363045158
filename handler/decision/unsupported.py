"""Pods that ECI cannot run, even if they are scheduled to a virtual node.

Sources: "Limits" (https://help.aliyun.com/document_detail/89138.html) and "ECI pods"
(https://help.aliyun.com/document_detail/154527.html). Both also list DaemonSets, whose
pods are never touched, and Services of type NodePort, which are not pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .pod import Pod, Spec

__all__ = ["unsupported"]

_MOST_CONTAINERS = 20
_MOST_VOLUMES = 20


def _host_path(spec: Spec) -> str | None:
    for volume in spec.volumes or ():
        if volume.host_path is not None:
            return "a hostPath volume"
    return None


def _host_network(spec: Spec) -> str | None:
    return "hostNetwork" if spec.host_network else None


def _privileged(spec: Spec) -> str | None:
    for container in (*(spec.containers or ()), *(spec.init_containers or ())):
        if container.security_context and container.security_context.privileged:
            return "a privileged container"
    return None


def _containers(spec: Spec) -> str | None:
    count = len(spec.containers or ())
    return f"{count} containers, at most {_MOST_CONTAINERS}" if count > _MOST_CONTAINERS else None


def _volumes(spec: Spec) -> str | None:
    count = len(spec.volumes or ())
    return f"{count} volumes, at most {_MOST_VOLUMES}" if count > _MOST_VOLUMES else None


_LIMITS: tuple[Callable[[Spec], str | None], ...] = (
    _host_path,
    _host_network,
    _privileged,
    _containers,
    _volumes,
)


def unsupported(pod: Pod) -> list[str]:
    """Return what ECI does not support in the pod; empty if ECI can run it."""
    return list(_found(pod.spec)) if pod.spec else []


def _found(spec: Spec) -> Iterator[str]:
    for limit in _LIMITS:
        if found := limit(spec):
            yield found
