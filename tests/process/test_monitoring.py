"""The dashboard and alerts, checked against the metrics that the function exports."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator

import pytest
import yaml
from hosts import container
from manifests import BINDING, Choice, needs_kubectl, of_kind, rendered
from prometheus_client.parser import text_string_to_metric_families
from server import ROOT, Server, review_of

from handler.install.certificates import certificate_problem, new_ca, new_certificate

MONITORING = ROOT / "k8s" / "monitoring"
SERIES = re.compile(r"((?:eci_profile|process)_\w+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"by \(([^)]*)\)")
AUDITED = """
- {name: enforced, objectSelector: {matchLabels: {app: a}}}
- {name: audited, objectSelector: {matchLabels: {app: b}}, mode: audit}
"""
KUBE_APISERVERS = "apiserver_admission_webhook_fail_open_count"
LABEL = re.compile(r'(\w+)=~?"([^"]*)"')


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the name of each panel or alert, and its expression."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text("utf-8"))
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose profile has a selector in audit mode."""
    folder = tmp_path_factory.mktemp("monitoring")
    config_map = {"kind": "ConfigMap", "metadata": {"name": "eci-profile"}}
    profile = {**config_map, "data": {"selectors": AUDITED}}
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    environment = {
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": str(folder / "profile.yaml"),
    }
    with container(environment, folder / "server.log") as server:
        yield server


@pytest.fixture(scope="module")
def exported(server: Server) -> dict[str, list[dict[str, str]]]:
    """The labels of every series that the server exports at startup, by metric name."""
    found: dict[str, list[dict[str, str]]] = {}
    for name, labels in samples(server):
        found.setdefault(name, []).append(labels)
    return found


def samples(server: Server) -> Iterator[tuple[str, dict[str, str]]]:
    text = server.request("GET", "/metrics").body.decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, dict(sample.labels)


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_expressions_use_series_that_exist_from_startup(
    title: str, expression: str, exported: dict[str, list[dict[str, str]]]
) -> None:
    series = SERIES.findall(expression)
    assert series or KUBE_APISERVERS in expression, title
    for name, matchers in series:
        assert name in exported
        for label, values in LABEL.findall(matchers):
            known = {labels[label] for labels in exported[name]}
            assert set(values.split("|")) <= known
        for label in ",".join(GROUPED.findall(expression)).replace(" ", "").split(","):
            assert not label or all(label in labels for labels in exported[name])


def test_every_alert_links_to_its_section_of_the_documentation() -> None:
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text("utf-8"))
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
            assert anchor == rule["alert"].lower()
            for path in (page, page.replace("/en/", "/zh/")):
                assert f"\n### {rule['alert']}\n" in (ROOT / path).read_text("utf-8")


def test_every_metric_is_used_by_the_dashboard_or_an_alert(
    exported: dict[str, list[dict[str, str]]],
) -> None:
    used = {name for _, expression in expressions() for name, _ in SERIES.findall(expression)}
    for name in exported:
        if name.startswith("eci_profile_"):
            assert re.sub(r"_(sum|count)$", "_bucket", name) in used


@needs_kubectl
def test_what_kube_apiserver_lets_pass_is_counted_for_each_webhook() -> None:
    """Its label ``name`` is the webhook's."""
    (expression,) = (each for _, each in expressions() if KUBE_APISERVERS in each)
    ((label, pattern),) = set(LABEL.findall(expression))
    assert label == "name"
    documents = rendered(Choice("deployment", components=(BINDING,)))
    registrations = of_kind(
        documents, "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
    )
    names = [webhook["name"] for each in registrations for webhook in each["webhooks"]]
    assert len(names) == 3
    for name in (*names, f"0-a.{names[0]}"):  # as narrowed
        assert re.fullmatch(pattern, name)


def test_alerts_come_before_a_certificate_ends_and_after_it_should_be_renewed() -> None:
    """Prometheus' own arithmetic, by hand."""
    rules = dict(expressions())
    for name, days in (
        ("ECIProfileCertificateExpiring", 21),
        ("ECIProfileCertificateExpiringVerySoon", 7),
    ):
        expected = "min(eci_profile_certificate_expiry_timestamp_seconds > 0) - time()"
        assert rules[name] == f"{expected} < {days} * 86400"
        now = dt.datetime.now(dt.timezone.utc)
        for left, problem in ((days - 1, True), (days + 1, True), (31, False)):
            ca = new_ca(now)
            made = new_certificate(ca, "x", now - dt.timedelta(90 - left))
            assert bool(certificate_problem(made, ca, "x", now)) == problem


def test_the_pod_monitor_selects_the_deployments_pods_and_port() -> None:
    monitor = yaml.safe_load((MONITORING / "podmonitor.yaml").read_text("utf-8"))["spec"]
    path = ROOT / "k8s" / "deployment" / "deployment.yaml"
    deployment = yaml.safe_load(path.read_text("utf-8"))
    template = deployment["spec"]["template"]
    assert monitor["namespaceSelector"]["matchNames"] == [deployment["metadata"]["namespace"]]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    (container,) = template["spec"]["containers"]
    assert endpoint["port"] in [port["name"] for port in container["ports"]]
    assert (endpoint["scheme"], endpoint["path"]) == ("https", "/metrics")


def test_labels_are_bounded_whatever_is_sent(
    server: Server, exported: dict[str, list[dict[str, str]]]
) -> None:
    for number in range(50):
        name = f"{number}"
        pod = {"metadata": {"name": name, "namespace": name, "labels": {"app": "ab"[number % 2]}}}
        server.post(review_of(pod))
        server.request("POST", f"/{number}", b"?")
        server.request(f"M{number}", "/")
    assert len(list(samples(server))) == sum(map(len, exported.values()))
