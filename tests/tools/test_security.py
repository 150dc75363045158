"""SECURITY.md: the rights of each account, and the versions that get fixes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import pytest
import yaml
from manifests import (
    CHOICES,
    K8S,
    Choice,
    Document,
    built,
    folders,
    needs_kubectl,
    one_file,
)
from server import ROOT

HEADING = "## Rights of each account"
COLUMNS = ("Account", "Where", "Verbs", "Resource", "Names", "For")


class Right(NamedTuple):
    """A row of the table, without its reason. ``name`` is ``any`` where no object is named."""

    account: str
    where: str
    verbs: str
    resource: str
    name: str


def _rules(role: Document) -> Iterable[tuple[str, str, str]]:
    """Verbs, resource and name of each rule, apart."""
    assert "aggregationRule" not in role, "the rights of an aggregated ClusterRole aren't listed"
    for rule in role["rules"]:
        verbs = ", ".join(f"`{verb}`" for verb in sorted(rule["verbs"]))
        for url in rule.get("nonResourceURLs", []):
            yield verbs, f"`{url}`", "any"
        for group in rule.get("apiGroups", []):
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [None]):
                    full = f"{resource}.{group}" if group else resource
                    yield verbs, f"`{full}`", f"`{name}`" if name else "any"


def rights(documents: Iterable[Document]) -> set[Right]:
    """What the bindings among these documents give to the accounts that they name.

    An account is listed by its name: that of the function is in another namespace on OpenFaaS.
    """
    documents = list(documents)
    roles = {
        (role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"]): role
        for role in documents
        if role["kind"] in ("Role", "ClusterRole")
    }
    bound, found = set(), set()
    for binding in documents:
        if binding["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        namespace = binding["metadata"].get("namespace")
        reference = binding["roleRef"]
        key = (
            reference["kind"],
            namespace if reference["kind"] == "Role" else None,
            reference["name"],
        )
        assert key in roles, f"{binding['metadata']['name']} binds {key}, which isn't among these"
        bound.add(key)
        for subject in binding["subjects"]:
            kind = "" if subject["kind"] == "ServiceAccount" else f"{subject['kind']} "
            account = f"{kind}`{subject['name']}`"
            where = f"`{namespace}`" if namespace else "cluster"
            found |= {Right(account, where, *rule) for rule in _rules(roles[key])}
    assert bound == roles.keys(), f"no account has {roles.keys() - bound}"
    return found


def granted() -> set[Right]:
    """The rights in all that can be installed with the profile under its usual name."""
    usual = [one_file(choice) for choice in CHOICES if choice.profile == Choice.profile]
    return set[Right]().union(
        *(rights(documents) for documents in (*usual, *map(built, folders("Kustomization"))))
    )


def written() -> dict[Right, str]:
    """The rows of the table in SECURITY.md, each with its reason."""
    _, found, rest = (ROOT / "SECURITY.md").read_text("utf-8").partition(f"{HEADING}\n")
    assert found, f"SECURITY.md has no {HEADING!r}"
    section = rest.partition("\n## ")[0]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in section.splitlines()
        if line.startswith("|")
    ]
    assert rows[0] == COLUMNS
    return {Right(*row[:-1]): row[-1] for row in rows[2:]}


def table(granted: Iterable[Right], reasons: dict[Right, str]) -> str:
    """The table as it has to be. A right that is new has ``?`` as its reason."""
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    rows += [(*right, reasons.get(right, "?")) for right in sorted(granted)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace(" --- ", "---")


@needs_kubectl
def test_the_table_has_the_rights_of_each_account() -> None:
    expected, rows = granted(), written()
    assert rows.keys() == expected, (
        f"{HEADING!r} in SECURITY.md has to have this table, with a reason for each `?`:\n\n"
        f"{table(expected, rows)}\n"
    )
    assert all(reason.strip("?") for reason in rows.values()), (
        "a right in SECURITY.md has no reason"
    )


@needs_kubectl
def test_no_role_and_no_account_is_left_out() -> None:
    """Of those in files that no choice has, the table would say nothing."""
    seen = [
        document
        for documents in (*map(one_file, CHOICES), *map(built, folders("Kustomization")))
        for document in documents
    ]
    kinds = ("ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    names = {(document["kind"], document["metadata"]["name"]) for document in seen}
    files = [path for path in K8S.rglob("*.yaml") if "sample" not in path.parts]
    for path in files:
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            if document and document.get("kind") in kinds:
                assert (document["kind"], document["metadata"]["name"]) in names, path
    accounts = {right.account.strip("`") for right in written()}
    assert {name for kind, name in names if kind == "ServiceAccount"} == accounts


@needs_kubectl
def test_no_account_reads_secrets_of_others() -> None:
    for right in granted():
        assert "*" not in right.verbs + right.resource
        assert "secrets" not in right.resource or right.where == "`eci-profile`"


DOCUMENTS = """\
kind: ClusterRole
metadata: {name: a}
rules:
- {apiGroups: ["", apps], resources: [x, y/z], resourceNames: [n], verbs: [update, get]}
- {nonResourceURLs: [/metrics], verbs: [get]}
---
kind: RoleBinding
metadata: {name: b, namespace: team}
roleRef: {kind: ClusterRole, name: a}
subjects: [{kind: ServiceAccount, name: s, namespace: other}, {kind: Group, name: g}]
"""


def test_rights_are_read_as_the_api_server_grants_them() -> None:
    found = rights(yaml.safe_load_all(DOCUMENTS))
    assert {right.account for right in found} == {"`s`", "Group `g`"}
    assert {right[1:] for right in found if right.account == "`s`"} == {
        *(
            ("`team`", "`get`, `update`", f"`{resource}`", "`n`")
            for resource in ("x", "y/z", "x.apps", "y/z.apps")
        ),
        ("`team`", "`get`", "`/metrics`", "any"),
    }


@pytest.mark.parametrize(
    ("old", "new"), [("kind: RoleBinding", "kind: X"), ("name: a}", "name: q}")]
)
def test_a_role_without_its_binding_is_found(old: str, new: str) -> None:
    with pytest.raises(AssertionError):
        rights(yaml.safe_load_all(DOCUMENTS.replace(old, new, 1)))


def test_a_new_right_gets_a_row_to_fill_in() -> None:
    first = Right("`s`", "cluster", "`get`", "`nodes`", "any")
    second = first._replace(verbs="`list`")
    assert table({second, first}, {first: "Labels"}) == (
        "| Account | Where | Verbs | Resource | Names | For |\n"
        "|---|---|---|---|---|---|\n"
        "| `s` | cluster | `get` | `nodes` | any | Labels |\n"
        "| `s` | cluster | `list` | `nodes` | any | ? |"
    )


def test_the_newest_release_is_the_supported_one() -> None:
    released = re.findall(
        r"^## (\d+\.\d+)\.\d+ - ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    assert re.findall(r"^\| (\S+) \| Yes \|$", text, re.MULTILINE) == [f"{released[0]}.x"]
