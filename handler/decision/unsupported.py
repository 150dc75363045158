"""Pods that ECI cannot run, even if they are scheduled to a virtual node.

Sources: "Limits" (https://help.aliyun.com/document_detail/89138.html) and "ECI pods"
(https://help.aliyun.com/document_detail/154527.html). Both also list DaemonSets, whose
pods are never touched, and Services of type NodePort, which are not pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..messages.message import Message
from .pod import Pod, Spec

__all__ = ["unsupported"]

_MOST_CONTAINERS = 20
_MOST_VOLUMES = 20


def _host_path(spec: Spec) -> Message | None:
    for volume in spec.volumes or ():
        if volume.host_path is not None:
            return Message("a hostPath volume")
    return None


def _host_network(spec: Spec) -> Message | None:
    return Message("hostNetwork") if spec.host_network else None


def _privileged(spec: Spec) -> Message | None:
    for container in (*(spec.containers or ()), *(spec.init_containers or ())):
        if container.security_context and container.security_context.privileged:
            return Message("a privileged container")
    return None


def _containers(spec: Spec) -> Message | None:
    count = len(spec.containers or ())
    if count <= _MOST_CONTAINERS:
        return None
    return Message("more than {most} containers ({count})", count=count, most=_MOST_CONTAINERS)


def _volumes(spec: Spec) -> Message | None:
    count = len(spec.volumes or ())
    if count <= _MOST_VOLUMES:
        return None
    return Message("more than {most} volumes ({count})", count=count, most=_MOST_VOLUMES)


_LIMITS: tuple[Callable[[Spec], Message | None], ...] = (
    _host_path,
    _host_network,
    _privileged,
    _containers,
    _volumes,
)


def unsupported(pod: Pod) -> list[Message]:
    """Return what ECI does not support in the pod; empty if ECI can run it."""
    return list(_found(pod.spec)) if pod.spec else []


def _found(spec: Spec) -> Iterator[Message]:
    for limit in _LIMITS:
        if found := limit(spec):
            yield found
