"""The manifests in k8s/: valid by Kubernetes' own schemas, and in agreement with each other."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from apiserver import APIServer, Grant, Request, asked, granted
from local import local
from manifests import (
    BINDING,
    CERTS,
    CHOICES,
    HOSTS,
    IMAGE,
    K8S,
    NARROW,
    URL,
    Choice,
    Document,
    built,
    folders,
    needs_kubectl,
    of_kind,
    one_file,
    only,
    parsed,
    pod_templates,
    rendered,
)
from registration import concerned, selects
from server import (
    DATA,
    binding_of,
    checked,
    clean_environment,
    patch_of,
    patched,
    review_of,
    wait_until,
)

from handler.profiles.parse import parse

pytestmark = needs_kubectl

NAMESPACE = "eci-profile"
VERSIONS = ("1.28", "1.31", "1.34", "1.37")
OLD_VERSIONS = ("1.25", "1.26")
CUSTOM = (
    "cert-manager.io/v1",
    "serving.knative.dev/v1",
    "openfaas.com/v1",
    "monitoring.coreos.com/v1",
)
# Beta versions that no schema at hand has; the stable ones say the same.
BETAS = ("admissionregistration.k8s.io/v1beta1", "batch/v1beta1", "policy/v1beta1")
EXCLUDED = {
    "deployment": ["kube-system", "eci-profile"],
    "knative": ["kube-system", "eci-profile"],
    "openfaas": ["kube-system", "eci-profile", "openfaas-fn"],
    "external": ["kube-system", "eci-profile"],
}

REGISTRATIONS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")

each_choice = pytest.mark.parametrize("choice", CHOICES, ids=str)


@cache
def _valid(document: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(document), version, strict=True)


def assert_valid(documents: tuple[Document, ...], version: str) -> None:
    for document in documents:
        if document["apiVersion"] in CUSTOM:
            continue
        if document["apiVersion"] in BETAS:
            stable = document["apiVersion"].replace("v1beta1", "v1")
            document = {**document, "apiVersion": stable}
        _valid(json.dumps(document), version)


@pytest.mark.parametrize(
    "folder", folders("Kustomization"), ids=lambda folder: str(folder.relative_to(K8S))
)
def test_every_folder_builds_and_is_valid(folder: Path) -> None:
    for version in VERSIONS:
        assert_valid(built(folder), version)


@each_choice
def test_every_choice_is_valid(choice: Choice) -> None:
    old = any(component.startswith("before-") for component in choice.components)
    for version in OLD_VERSIONS if old else VERSIONS:
        assert_valid(rendered(choice), version)
        assert_valid(one_file(choice), version)


def test_every_component_is_in_a_choice() -> None:
    chosen = {component for choice in CHOICES for component in choice.components}
    components = {folder.name for folder in folders("Component")}
    assert components == chosen | {*CERTS, "install-job", "url", "url-at-binding"}


def test_every_file_is_in_a_kustomization() -> None:
    for path in K8S.glob("[a-z]*/**/*.yaml"):
        if path.parent.name != "sample" and path.name not in ("kustomization.yaml", "stack.yaml"):
            kustomization = yaml.safe_load((path.parent / "kustomization.yaml").read_text())
            assert path.name in kustomization["resources"], path


def test_the_validation_is_strict() -> None:
    deployment = copy.deepcopy(only(rendered(CHOICES[0]), "Deployment"))
    deployment["spec"]["template"]["spec"]["serviceAcountName"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        assert_valid((deployment,), VERSIONS[-1])


@each_choice
def test_versions_fit_old_clusters(choice: Choice) -> None:
    documents = rendered(choice)
    registrations = of_kind(
        documents, "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
    )
    assert len(registrations) == 2
    for registration in registrations:
        beta = registration["apiVersion"] == "admissionregistration.k8s.io/v1beta1"
        assert beta == ("before-1.16" in choice.components)
        narrow = ["matchConditions" in webhook for webhook in registration["webhooks"]]
        old = any(component.startswith("before-") for component in choice.components)
        assert narrow == [not old, *[False] * (len(narrow) - 1)]
    before_1_21 = {"before-1.21", "before-1.16"} & set(choice.components)
    for budget in of_kind(documents, "PodDisruptionBudget"):
        assert budget["apiVersion"] == ("policy/v1beta1" if before_1_21 else "policy/v1")
    if before_1_21:
        young = "seccompProfile|topologySpread|startupProbe"
        assert not re.search(young, str(_deployments(choice)))
        pods = list(pod_templates(one_file(choice)))
        assert not re.search("seccompProfile", str(pods[-2:]))
        for cron_job in of_kind(documents, "CronJob"):
            assert cron_job["apiVersion"] == "batch/v1beta1"


def _deployments(choice: Choice) -> list[Document]:
    return of_kind(rendered(choice), "Deployment")


@each_choice
def test_the_registration_asks_for_what_the_function_answers(choice: Choice) -> None:
    mutating, *bind = only(rendered(choice), "MutatingWebhookConfiguration")["webhooks"]
    (validating,) = only(rendered(choice), "ValidatingWebhookConfiguration")["webhooks"]
    assert len(bind) == (BINDING in choice.components)
    for webhook, path in (
        (mutating, "/mutate"),
        (validating, "/validate"),
        *((each, "/bind") for each in bind),
    ):
        config = webhook["clientConfig"]
        assert config == (
            {"url": f"{choice.url}{path}"}
            if choice.url
            else {"service": {**config["service"], "path": path}}
        )
        assert webhook["failurePolicy"] == "Ignore"
        assert webhook["timeoutSeconds"] <= 5
        assert webhook["matchPolicy"] == "Equivalent"
        assert webhook["admissionReviewVersions"] == ["v1", "v1beta1"]
    assert mutating["sideEffects"] == "NoneOnDryRun"
    assert mutating["reinvocationPolicy"] == "IfNeeded"
    (excluded,) = mutating["namespaceSelector"]["matchExpressions"]
    assert excluded["values"] == EXCLUDED[choice.host]
    assert validating["rules"][0]["resources"] == ["configmaps"]
    assert validating["rules"][0]["operations"] == ["CREATE", "UPDATE"]
    namespace, name = choice.profile.split("/")
    assert validating["namespaceSelector"] == {
        "matchLabels": {"kubernetes.io/metadata.name": namespace}
    }
    for condition in validating.get("matchConditions", []):
        assert condition["expression"] == f'has(request.name) && request.name == "{name}"'
    for webhook in bind:
        same = ("sideEffects", "namespaceSelector", "timeoutSeconds", "failurePolicy")
        assert [webhook[field] for field in same] == [mutating[field] for field in same]
        assert webhook["rules"] == [{**mutating["rules"][0], "resources": ["pods/binding"]}]
        assert webhook["reinvocationPolicy"] == "Never"
        assert "objectSelector" not in webhook  # a Binding has none of its pod's labels


def test_bindings_are_sent_to_the_webhook_for_them() -> None:
    mutate, bind = only(
        rendered(Choice("deployment", components=(BINDING,))), "MutatingWebhookConfiguration"
    )["webhooks"]
    sent = set()
    for path in DATA.glob("reviews/*.json"):
        request = json.loads(path.read_text())["request"]
        assert not (concerned(mutate, request) and concerned(bind, request))
        if concerned(bind, request):
            sent.add(path.stem)
            for namespace, called in (("default", True), ("kube-system", False)):
                labels = {"kubernetes.io/metadata.name": namespace}
                assert selects(bind, request["object"], labels) == called
    assert "pod-binding" in sent
    assert all(name.startswith("pod-binding") for name in sent)


@each_choice
def test_kube_apiserver_reaches_pods_that_listen(choice: Choice) -> None:
    documents = rendered(choice)
    targets = [
        webhook["clientConfig"].get("service")
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for webhook in only(documents, kind)["webhooks"]
    ]
    for target in targets:
        if target is None:
            assert choice.url
            continue
        service = only(documents, "Service", target["name"])
        assert service["apiVersion"] == "v1"
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"  # not ExternalName
        assert service["metadata"]["namespace"] == target["namespace"]
        (port,) = service["spec"]["ports"]
        assert port["port"] == target["port"]
        (deployment,) = (
            deployment
            for deployment in of_kind(documents, "Deployment")
            if service["spec"]["selector"].items()
            <= deployment["spec"]["template"]["metadata"]["labels"].items()
        )
        assert deployment["metadata"]["namespace"] == service["metadata"]["namespace"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert port["targetPort"] in [each["name"] for each in container["ports"]]


@each_choice
def test_names_in_and_around_pods_agree(choice: Choice) -> None:
    documents = rendered(choice)
    deployments = of_kind(documents, "Deployment")
    for deployment in deployments:
        template, selector = deployment["spec"]["template"], deployment["spec"]["selector"]
        labels = template["metadata"]["labels"]
        assert selector["matchLabels"] == labels
        for constraint in template["spec"].get("topologySpreadConstraints", []):
            assert constraint["labelSelector"] == selector
        (budget,) = (
            each
            for each in of_kind(documents, "PodDisruptionBudget")
            if each["spec"]["selector"] == selector
        )
        assert budget["spec"]["minAvailable"] < _replicas(documents, deployment)
        grace = template["spec"]["terminationGracePeriodSeconds"]
        assert grace >= 30
    for _, template in pod_templates(one_file(choice)):
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        (container,) = template["spec"]["containers"]
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes.keys()
        ports = {port["name"] for port in container.get("ports", [])}
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = container.get(name, {}).get("httpGet", {}).get("port")
            assert port is None or port in ports
        for volume in volumes.values():
            if "secret" in volume:
                assert volume["secret"]["secretName"] == "eci-profile-tls"
                # So the pod waits for them where the Secret is empty.
                keys = {item["key"]: item["path"] for item in volume["secret"]["items"]}
                assert keys == {"tls.crt": "tls.crt", "tls.key": "tls.key"}
            if "configMap" in volume:
                only(documents, "ConfigMap", volume["configMap"]["name"])


def _replicas(documents: tuple[Document, ...], deployment: Document) -> int:
    replicas = deployment["spec"].get("replicas")
    if replicas is None:
        scaler = only(documents, "HorizontalPodAutoscaler")["spec"]
        assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        replicas = scaler["minReplicas"]
    return int(replicas)


@each_choice
def test_namespaces_agree(choice: Choice) -> None:
    documents = rendered(choice)
    documents = (*documents, *one_file(choice))
    names = {document["metadata"]["name"] for document in of_kind(documents, "Namespace")}
    old = {"before-1.21", "before-1.16"} & set(choice.components)
    assert names == {NAMESPACE, *(["kube-system"] if old else [])}
    for document in documents:
        expected: set[str | None] = {NAMESPACE}
        match document["kind"]:
            case "Namespace" | "ClusterRole" | "ClusterRoleBinding":
                expected = {None}
            case "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration":
                expected = {None}
            case "Role" | "RoleBinding" if document["metadata"]["name"] in (
                "eci-profile",
                "eci-profile-default",
            ):
                expected = {choice.profile.split("/")[0]}
            case "ConfigMap" if "selectors" in document["data"]:
                assert document["metadata"]["name"] == choice.profile.split("/")[1]
                expected = {choice.profile.split("/")[0]}
            case "Function" | "ServiceAccount" if (
                choice.host == "openfaas" and document["metadata"]["name"] == "eci-profile"
            ):
                expected = {"openfaas-fn"}
        assert document["metadata"].get("namespace") in expected, document["metadata"]


@each_choice
def test_namespaces_have_the_label_by_which_the_registration_leaves_them_out(
    choice: Choice,
) -> None:
    """Kubernetes before 1.21 doesn't set it itself."""
    documents = rendered(choice)
    webhook = only(documents, "MutatingWebhookConfiguration")["webhooks"][0]
    (expression,) = webhook["namespaceSelector"]["matchExpressions"]
    for namespace in of_kind(documents, "Namespace"):
        labels, name = namespace["metadata"]["labels"], namespace["metadata"]["name"]
        assert labels[expression["key"]] == name
        assert name in expression["values"]
        assert "app.kubernetes.io/component" not in labels  # or one of the steps may leave it out


@each_choice
def test_the_function_runs_as_the_account_that_has_the_rights(choice: Choice) -> None:
    documents = rendered(choice)
    account = only(documents, "ServiceAccount", "eci-profile")["metadata"]
    used = {
        "deployment": lambda: only(documents, "Deployment", "eci-profile"),
        "knative": lambda: only(documents, "Service", "eci-profile-function"),
        "openfaas": lambda: only(documents, "Function"),
    }
    if choice.host in used:
        workload = used[choice.host]()
        name = (
            workload["spec"]["annotations"]["com.openfaas.serviceaccount"]
            if choice.host == "openfaas"
            else workload["spec"]["template"]["spec"]["serviceAccountName"]
        )
        assert (workload["metadata"]["namespace"], name) == (account["namespace"], account["name"])
    documents = one_file(choice)
    for binding in of_kind(documents, "RoleBinding", "ClusterRoleBinding"):
        (subject,) = binding["subjects"]
        own = "eci-profile-install" if "default" in binding["metadata"]["name"] else None
        assert subject["name"] == (own or binding["metadata"]["name"])
        bound = only(documents, "ServiceAccount", subject["name"])
        assert subject["namespace"] == bound["metadata"]["namespace"]
        only(documents, binding["roleRef"]["kind"], binding["roleRef"]["name"])
    for job, template in pod_templates(of_kind(documents, "Job", "CronJob")):
        name = template["spec"]["serviceAccountName"]
        assert job.startswith(name)
        assert only(documents, "ServiceAccount", name)["metadata"]["namespace"] == NAMESPACE
    if choice.host != "deployment" and not choice.url:
        front = only(documents, "Deployment")["spec"]["template"]["spec"]
        assert front["automountServiceAccountToken"] is False


@each_choice
def test_pods_pass_the_restricted_level(choice: Choice) -> None:
    """The rules of the Pod Security Standards' level "restricted", as far as they need fields."""
    labels = only(rendered(choice), "Namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    old = {"before-1.21", "before-1.16"} & set(choice.components)  # the level is younger
    for name, template in pod_templates(one_file(choice)):
        spec = template["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
        assert all(
            volume.keys() & {"secret", "configMap", "emptyDir"}
            for volume in spec.get("volumes", [])
        )
        for container in spec["containers"]:
            security = {**spec.get("securityContext", {}), **container["securityContext"]}
            assert security["runAsNonRoot"] is True, name
            assert security["runAsUser"] > 0
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert old or security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert {"requests", "limits"} == container["resources"].keys()


@pytest.mark.parametrize("host", HOSTS)
def test_the_image_is_the_one_asked_for(host: str) -> None:
    text = json.dumps(one_file(Choice(host)))
    assert text.count(f'"image": "{IMAGE}"') == 3  # with the Job and the CronJob
    assert '"image": "eci-profile"' not in text


@pytest.mark.parametrize("host", HOSTS)
def test_cert_managers_certificate_is_the_one_in_use(host: str) -> None:
    documents = rendered(Choice(host, "cert-manager"))
    certificate = only(documents, "Certificate", "eci-profile-tls")
    service = only(documents, "MutatingWebhookConfiguration")["webhooks"][0]["clientConfig"]
    target = service["service"]
    assert certificate["spec"]["dnsNames"] == [f"{target['name']}.{target['namespace']}.svc"]
    assert certificate["spec"]["secretName"] == "eci-profile-tls"
    issuer = only(documents, "Issuer", certificate["spec"]["issuerRef"]["name"])
    ca = only(documents, "Certificate", "eci-profile-ca")
    assert issuer["spec"]["ca"]["secretName"] == ca["spec"]["secretName"]
    assert ca["spec"]["isCA"] is True
    signer = only(documents, "Issuer", ca["spec"]["issuerRef"]["name"])
    assert signer["spec"] == {"selfSigned": {}}
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        annotations = only(documents, kind)["metadata"]["annotations"]
        assert annotations == {
            "cert-manager.io/inject-ca-from": f"{NAMESPACE}/{certificate['metadata']['name']}"
        }


def test_knatives_service_is_as_knative_wants_it() -> None:
    documents = rendered(Choice("knative"))
    service = only(documents, "Service", "eci-profile-function")
    assert service["apiVersion"] == "serving.knative.dev/v1"
    assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"
    template = service["spec"]["template"]
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "1"
    spec = dict(template["spec"])
    assert spec.pop("containerConcurrency") > 0
    # Not longer than nginx waits, and both longer than kube-apiserver.
    assert 5 <= spec.pop("timeoutSeconds") <= 10
    (container,) = spec["containers"]
    assert not container["readinessProbe"]["httpGet"].keys() & {"port", "scheme"}  # Knative's
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {
            **spec,
            "containers": [
                {
                    **container,
                    "name": "x",
                    "readinessProbe": {"httpGet": {"path": "/", "port": 1}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": 1}},
                }
            ],
        },
    }
    assert_valid((pod,), VERSIONS[-1])
    # Knative would make a Kubernetes Service of its service's name.
    assert service["metadata"]["name"] != only(documents, "Deployment")["metadata"]["name"]
    assert len({each["metadata"]["name"] for each in of_kind(documents, "Service")}) == 2


def test_openfaas_function_and_stack_say_the_same() -> None:
    function = only(built(K8S / "openfaas"), "Function")
    stack = yaml.safe_load((K8S / "openfaas" / "stack.yaml").read_text())
    ((name, written),) = stack["functions"].items()
    spec = function["spec"]
    assert name == spec["name"] == function["metadata"]["name"]
    assert written["namespace"] == function["metadata"]["namespace"]
    assert written["skip_build"] is True
    for field in ("labels", "annotations", "requests", "limits"):
        assert written[field] == spec[field], field
    assert written["readonly_root_filesystem"] == spec["readOnlyRootFilesystem"]
    assert written["image"] == f"${{IMAGE:-{spec['image']}}}"


def test_the_fronts_configuration_fits_its_pod() -> None:
    for host, upstream in (
        ("knative", "eci-profile-function.eci-profile.svc.cluster.local:80"),
        ("openfaas", "eci-profile.openfaas-fn.svc.cluster.local:8080"),
    ):
        documents = built(K8S / host)
        spec = only(documents, "Deployment")["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        (volume,) = (v for v in spec["volumes"] if v["name"] == "configuration")
        data = only(documents, "ConfigMap", volume["configMap"]["name"])["data"]
        directory = mounts["configuration"]
        assert data.keys() == {"nginx.conf", "upstream.conf", "run.sh"}
        assert f"include {directory}/upstream.conf;" in data["nginx.conf"]
        assert f"{directory}/nginx.conf" in data["run.sh"]
        assert container["command"] == ["sh", f"{directory}/run.sh"]
        assert f"ssl_certificate {mounts['tls']}/tls.crt;" in data["nginx.conf"]
        assert f"listen {container['ports'][0]['containerPort']} ssl" in data["nginx.conf"]
        assert f"server {upstream} " in data["upstream.conf"]
        written = re.findall(r"(?:pid|_temp_path) (.*)/", data["nginx.conf"])
        assert set(written) == {mounts["tmp"]}


def test_the_deployments_settings_fit_its_pod() -> None:
    spec = only(built(K8S / "deployment"), "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert environment["PORT"] == str(container["ports"][0]["containerPort"])
    assert environment["ECI_PROFILE_TLS_DIR"] == mounts["tls"]
    finish = 10  # seconds that a request may take once no more are accepted
    drain = float(environment["ECI_PROFILE_DRAIN"])
    assert drain + finish < spec["terminationGracePeriodSeconds"]
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


@pytest.mark.parametrize("host", HOSTS)
def test_the_component_itself_can_run_on_the_virtual_node(host: str) -> None:
    documents = one_file(Choice(host, components=("on-virtual-node",)))
    templates = list(pod_templates(of_kind(documents, "Deployment", "Job", "CronJob")))
    assert len(templates) == 3
    for _, template in templates:
        assert template["spec"]["nodeSelector"] == {"k8s.aliyun.com/vnode": "true"}
        assert template["spec"]["tolerations"] == [
            {
                "key": "k8s.aliyun.com/vnode",
                "operator": "Equal",
                "value": "true",
                "effect": "NoSchedule",
            }
        ]


def test_the_default_profile_is_the_documented_one() -> None:
    data = only(built(K8S / "base"), "ConfigMap")["data"]
    assert data.keys() == {"selectors"}
    assert json.loads(data["selectors"]) == [
        {
            "name": f"default-{side}-selector",
            field: {"matchLabels": {"alibabacloud.com/eci": "true"}},
        }
        for side, field in (("pod", "objectSelector"), ("namespace", "namespaceSelector"))
    ]
    assert len(parse(data).selectors) == 2
    assert not parse(data).warnings


def test_nothing_secret_is_in_the_manifests() -> None:
    for path in K8S.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert "PRIVATE KEY" not in path.read_text("utf-8"), path
    for choice in CHOICES:
        for secret in of_kind(one_file(choice), "Secret"):
            # Without a type, too, which can't be changed in one that is there.
            assert secret.keys() == {"apiVersion", "kind", "metadata"}


@pytest.mark.parametrize("components", [(), (BINDING,), (NARROW,), (BINDING, NARROW)], ids=str)
def test_rbac_grants_what_the_function_asks_for_and_no_more(
    components: tuple[str, ...], api: APIServer, tmp_path: Path
) -> None:
    choice = Choice("deployment", components=components)
    assert _requests_of_the_function(api, tmp_path, choice) == granted(
        rendered(choice), "eci-profile"
    )


@each_choice
def test_rights_settings_and_profile_agree(choice: Choice) -> None:
    documents = rendered(choice)
    namespace, name = choice.profile.split("/")
    own = granted(documents, "eci-profile")
    added = own - granted(built(K8S / "base"))
    expected: set[Grant] = set()
    if BINDING in choice.components:
        expected |= {(None, "get", "nodes", None), (None, "get", "pods", None)}
    if NARROW in choice.components:
        registration = only(documents, "MutatingWebhookConfiguration")["metadata"]["name"]
        group = "admissionregistration.k8s.io/mutatingwebhookconfigurations"
        expected |= {(None, verb, group, registration) for verb in ("get", "patch")}
    assert {grant for grant in added if grant[0] is None} == expected
    assert {grant for grant in own if grant[0] is not None} == {
        (namespace, "get", "configmaps", name),
        (namespace, "create", "events", None),
    }
    assert _own_settings(choice) == (choice.settings if choice.host != "external" else {})


def _own_settings(choice: Choice) -> dict[str, str]:
    """What the function's environment says, apart from what its host always sets."""
    documents, always = rendered(choice), {"PORT", "ECI_PROFILE_TLS_DIR", "ECI_PROFILE_DRAIN"}
    for function in of_kind(documents, "Function"):
        environment: dict[str, str] = function["spec"]["environment"]
        return environment
    for name, template in pod_templates(documents):
        if name != "eci-profile-front":
            (container,) = template["spec"]["containers"]
            variables = {each["name"]: each["value"] for each in container["env"]}
            assert len(variables) == len(container["env"])
            return {key: value for key, value in variables.items() if key not in always}
    return {}


@pytest.mark.parametrize("profile", ["a", "0", "x.y-z.0", "a" * 253])
def test_a_profile_may_have_any_name(profile: str) -> None:
    documents = rendered(Choice("deployment", profile=f"{'n' * 63}/{profile}"))
    assert_valid(documents, VERSIONS[-1])
    assert only(documents, "ConfigMap")["metadata"]["name"] == profile


@each_choice
def test_the_rights_of_jobs_are_to_single_objects(choice: Choice) -> None:
    """Except to create, which can't be limited to a name. The requests: test_install_job.py."""
    documents = one_file(choice)
    namespace = choice.profile.split("/")[0]
    registrations = {
        (None, verb, f"admissionregistration.k8s.io/{kind}webhookconfigurations", "eci-profile")
        for verb in ("get", "patch")
        for kind in ("mutating", "validating")
    }
    always = {
        *registrations,
        (NAMESPACE, "get", "endpoints", "eci-profile"),
        (NAMESPACE, "create", "events", None),
    }
    renewing = {
        (NAMESPACE, verb, "secrets", f"eci-profile-{name}")
        for verb in ("get", "patch")
        for name in ("ca", "tls")
    }
    certs = "" if choice.url else choice.certs
    assert granted(documents, "eci-profile-certificates") == (
        always | renewing if certs == "self-renewing" else set()
    )
    secrets = {
        "self-renewing": renewing,
        "self-signed": {(NAMESPACE, "get", "secrets", "eci-profile-tls")},
    }
    assert granted(documents, "eci-profile-install") == {
        *always,
        *secrets.get(certs, set()),
        (NAMESPACE, "get", "configmaps", "eci-profile-install"),
        (namespace, "create", "configmaps", None),
    }


@each_choice
def test_one_file_holds_all_that_an_installation_by_kubectl_has(choice: Choice) -> None:
    """Directly, or in the ConfigMap from which the Job creates it."""
    documents = one_file(choice)
    (job,) = of_kind(documents, "Job")
    config = only(documents, "ConfigMap", "eci-profile-install")["data"]
    later = [each for text in config.values() for each in parsed(text) if each]
    at_once = [document for document in rendered(choice) if document not in later]
    for document in at_once:
        assert document in documents
    registrations = of_kind(rendered(choice), *REGISTRATIONS)
    assert [each["kind"] for each in later] == ["ConfigMap", *REGISTRATIONS]
    assert later[1:] == registrations
    assert later[0]["metadata"]["name"] == choice.profile.split("/")[1]
    without = [{k: v for k, v in each.items() if k != "webhooks"} for each in registrations]
    assert list(documents[:2]) == without  # first, so that they are deleted first
    assert "selectors" not in str([each for each in documents if each["kind"] != "ConfigMap"][2:])
    bundle = {"self-renewing": "--bundle=renewed", "self-signed": "--bundle=given"}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    argument = bundle.get("" if choice.url else choice.certs)
    expected = ["python", "-m", "handler", "install", *filter(None, [argument])]
    assert container["command"] == expected


def test_each_manifest_has_a_job_of_its_own() -> None:
    """Since one that is there can't be changed."""
    names = {only(one_file(choice), "Job")["metadata"]["name"] for choice in CHOICES}
    assert len(names) == len(CHOICES)
    assert max(map(len, names)) <= 63


def _requests_of_the_function(api: APIServer, directory: Path, choice: Choice) -> set[Grant]:
    """What it asks the API server for in a life with a good profile and an invalid one."""
    api.effects_at_binding = BINDING in choice.components
    api.narrow_registration = NARROW in choice.components
    api.put_registration(only(rendered(choice), "MutatingWebhookConfiguration"))
    api.put_namespace("team-a", {"eci": "true"})
    api.put_node("vk", {"k8s.aliyun.com/vnode": "true"})
    good = [
        {
            "name": "x",
            "namespaceSelector": {"matchLabels": {"eci": "true"}},
            "effect": {"at": "binding", "annotations": {"a": "b"}},
        }
    ]
    api.put_config_map("kube-system", "eci-profile", {"selectors": json.dumps(good)})
    environment = {
        "KUBECONFIG": str(api.write_kubeconfig(directory / "kubeconfig")),
        "ECI_PROFILE_TTL": "0.2",
        **choice.settings,
    }
    pod: Document = {"metadata": {"name": "web", "namespace": "team-a"}, "spec": {"containers": []}}
    with local(environment) as server:
        response = server.post(review_of(pod)).json["response"]
        api.put_pod("team-a", patched(pod, response))
        review = binding_of("team-a", "web", "vk")
        bound = patch_of(checked(server.post(review), review))
        assert bool(bound) == (BINDING in choice.components)
        wait_until(lambda: api.count("PATCH") == (NARROW in choice.components))
        api.put_config_map("kube-system", "eci-profile", {"selectors": "[{"})
        end = time.monotonic() + 10
        while not api.events and time.monotonic() < end:
            server.post(review_of(pod))
            server.request("GET", "/readyz")
            time.sleep(0.1)
        server.request("GET", "/metrics")
    assert api.events
    return {_grant(request) for request in api.requests}


def _grant(request: Request) -> Grant:
    assert request.status in (200, 201, 409)
    namespace, verb, resource, name = asked(
        request.method, request.path.split("?")[0].strip("/").split("/")
    )
    if resource in ("namespaces", "nodes", "pods"):  # any, since pods are created in any
        return None, verb, resource, None
    return namespace, verb, resource, name


def test_install_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    for variables, sentence in (
        ({}, "IMAGE must be the name"),
        ({"HOST": "nomad"}, "HOST must be"),
        ({"IMAGE": "x", "CERTS": "none"}, "CERTS must be self-renewing, self-signed or"),
        ({"IMAGE": "x", "COMPONENTS": "nope"}, "has no nope"),
        ({"HOST": "external"}, "requires URL"),
        ({"HOST": "external", "URL": "http://eci.example.com"}, "must begin with https"),
        ({"IMAGE": "x", "URL": URL}, "remove URL"),
        ({"IMAGE": "x|y"}, "can't contain"),
        ({"IMAGE": "x", "PROFILE_NAME": "Acs"}, "PROFILE_NAME must be the name of a ConfigMap"),
        ({"IMAGE": "x", "PROFILE_NAME": "a..b"}, "not 'a..b'"),
        ({"IMAGE": "x", "PROFILE_NAME": "a" * 254}, "at most 253"),
        ({"IMAGE": "x", "PROFILE_NAME": 'a\nb: "c'}, "PROFILE_NAME must be"),
        ({"IMAGE": "x", "PROFILE_NAMESPACE": "a.b"}, "PROFILE_NAMESPACE must be the name of a"),
        ({"IMAGE": "x", "PROFILE_NAMESPACE": "-a"}, "not '-a'"),
        ({"IMAGE": "x", "PROFILE_NAMESPACE": "a" * 64}, "at most 63"),
        ({"IMAGE": "x", "PROFILE_NAMESPACE": "eci-profile"}, "choose another namespace"),
    ):
        result = subprocess.run(
            [K8S / "install.sh", "render"],
            env={**clean_environment(), "TMPDIR": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1
        assert sentence in result.stderr
        assert not result.stdout
    assert not list(tmp_path.iterdir())


def test_install_leaves_its_own_folder_alone(tmp_path: Path) -> None:
    k8s = tmp_path / "k8s"
    shutil.copytree(K8S, k8s)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = {path: path.stat().st_mtime_ns for path in (k8s, *k8s.rglob("*"))}
    result = subprocess.run(
        [k8s / "install.sh", "render"],
        env={**clean_environment(), "TMPDIR": str(temporary), "IMAGE": IMAGE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert parsed(result.stdout) == rendered(Choice("deployment"))
    assert {path: path.stat().st_mtime_ns for path in (k8s, *k8s.rglob("*"))} == before
    assert not list(temporary.iterdir())
