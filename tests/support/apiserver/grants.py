"""RBAC: what roles grant, and what a request asks for."""

from __future__ import annotations

from collections.abc import Iterable

from .status import VERBS, Object

Grant = tuple[str | None, str, str, str | None]
"""Namespace, verb, group and resource, and name. None: any, and in a request: it has none."""


def granted(documents: Iterable[Object], account: str | None = None) -> set[Grant]:
    """What the roles among these manifests grant, perhaps to one service account only."""
    documents = list(documents)
    bound = {
        (each["kind"] == "ClusterRoleBinding", each["metadata"].get("namespace"), role["name"])
        for each in documents
        if each["kind"] in ("RoleBinding", "ClusterRoleBinding")
        for role in [each["roleRef"]]
        if account in (None, *(subject["name"] for subject in each["subjects"]))
    }
    return {
        (role["metadata"].get("namespace"), verb, f"{group}/{resource}".lstrip("/"), name)
        for role in documents
        if role["kind"] in ("Role", "ClusterRole")
        and (
            role["kind"] == "ClusterRole",
            role["metadata"].get("namespace"),
            role["metadata"]["name"],
        )
        in bound
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [None])
    }


def asked(method: str, parts: list[str]) -> Grant:
    """What a request asks for; ``parts``: its path."""
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if rest[1:] else None
    verb = VERBS.get(method, "get" if name else "list")
    return namespace, verb, f"{group}/{rest[0]}".lstrip("/"), name


def allows(grants: set[Grant] | None, method: str, parts: list[str]) -> bool:
    """Whether a request is granted; without grants, others decide."""
    if grants is None:
        return True
    namespace, verb, resource, name = asked(method, parts)
    return any(
        scope in (None, namespace) and (verb, resource) == (may, what) and only in (None, name)
        for scope, may, what, only in grants
    )
