"""The resources that there are, and how kubectl finds out."""

from __future__ import annotations

from .status import Object, unknown_resource

# Group and version: plural, kind, and whether it is namespaced.
RESOURCES: dict[str, list[tuple[str, str, bool]]] = {
    "v1": [
        ("namespaces", "Namespace", False),
        ("configmaps", "ConfigMap", True),
        ("endpoints", "Endpoints", True),
        ("events", "Event", True),
        ("nodes", "Node", False),
        ("pods", "Pod", True),
        ("secrets", "Secret", True),
        ("serviceaccounts", "ServiceAccount", True),
        ("services", "Service", True),
    ],
    "apps/v1": [
        ("daemonsets", "DaemonSet", True),
        ("deployments", "Deployment", True),
        ("replicasets", "ReplicaSet", True),
        ("statefulsets", "StatefulSet", True),
    ],
    "batch/v1": [("cronjobs", "CronJob", True), ("jobs", "Job", True)],
    "autoscaling/v1": [("horizontalpodautoscalers", "HorizontalPodAutoscaler", True)],
    "policy/v1": [("poddisruptionbudgets", "PodDisruptionBudget", True)],
    "rbac.authorization.k8s.io/v1": [
        ("clusterroles", "ClusterRole", False),
        ("clusterrolebindings", "ClusterRoleBinding", False),
        ("roles", "Role", True),
        ("rolebindings", "RoleBinding", True),
    ],
    "admissionregistration.k8s.io/v1": [
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False),
    ],
    # Of the old clusters that have no other; kubectl isn't told.
    "admissionregistration.k8s.io/v1beta1": [
        ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False),
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False),
    ],
    "apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition", False)],
    "cert-manager.io/v1": [("certificates", "Certificate", True), ("issuers", "Issuer", True)],
    "serving.knative.dev/v1": [("services", "Service", True)],
    "openfaas.com/v1": [("functions", "Function", True)],
}


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The media type of the resources of many groups."""


def discovery(path: list[str]) -> Object:
    match path:
        case ["api"]:
            return _aggregated([version for version in RESOURCES if "/" not in version])
        case ["apis"]:
            groups = [version for version in RESOURCES if "/" in version]
            return _aggregated([each for each in groups if not each.endswith("beta1")])
        case ["openapi", "v3"]:
            roots = {v: f"apis/{v}" if "/" in v else f"api/{v}" for v in RESOURCES}
            urls = {r: {"serverRelativeURL": f"/openapi/v3/{r}"} for r in roots.values()}
            return {"paths": urls}
        case ["openapi", "v3", _, *rest]:
            # Enough for kubectl to leave the validation of fields to the server.
            group, _, short = "/".join(rest).rpartition("/")
            paths = {
                f"/{plural}": {
                    "patch": {
                        "x-kubernetes-group-version-kind": {
                            "group": group,
                            "version": short,
                            "kind": kind,
                        },
                        "parameters": [{"name": "fieldValidation", "in": "query"}],
                        "responses": {},
                    }
                }
                for plural, kind, _ in RESOURCES["/".join(rest)]
            }
            info = {"title": "Kubernetes", "version": "v1.36.0"}
            return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {}}
    raise unknown_resource()


def _aggregated(versions: list[str]) -> Object:
    """All resources of these groups in one answer, as kubectl asks for."""
    items = []
    for version in versions:
        group, _, short = version.rpartition("/")
        resources = [
            {
                "resource": plural,
                "singularResource": kind.lower(),
                "responseKind": {"group": group, "version": short, "kind": kind},
                "scope": "Namespaced" if namespaced else "Cluster",
                "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
                "shortNames": ["crd"] if plural == "customresourcedefinitions" else [],
            }
            for plural, kind, namespaced in RESOURCES[version]
        ]
        entry = {"version": short, "freshness": "Current", "resources": resources}
        items.append({"metadata": {"name": group}, "versions": [entry]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}
