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


def discovery(path: list[str]) -> Object:
    match path:
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            groups = []
            for version in RESOURCES:
                if "/" in version and not version.endswith("beta1"):
                    name, short = version.split("/")
                    entry = {"groupVersion": version, "version": short}
                    groups.append({"name": name, "versions": [entry], "preferredVersion": entry})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
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


def resource_list(version: str) -> Object:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": [
            {
                "name": plural,
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": namespaced,
                "verbs": verbs,
                "shortNames": ["crd"] if plural == "customresourcedefinitions" else [],
            }
            for plural, kind, namespaced in RESOURCES[version]
        ],
    }
