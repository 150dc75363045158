"""``schema``: prints the JSON Schema of a profile's list of selectors, for editors.

It is generated from the types that the profile is parsed with. Only ``check`` finds violations of
rules that a schema cannot express, such as unique names.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from ..messages.message import Message
from ..profiles.schema import WrittenSelector, WrittenVirtualNode

__all__ = ["add_to", "json_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_NAMES = {
    "WrittenSelector": "selector",
    "WrittenEffect": "effect",
    "WrittenPolicy": "policy",
    "WrittenVirtualNode": "virtualNode",
    "WrittenToleration": "toleration",
    "LabelSelector": "labelSelector",
    "LabelSelectorRequirement": "requirement",
    "Ratios": "ratios",
    "Empty": "empty",
}
_OF_FORMS = {
    "selector": "Selects pods, and declares what is added to them and how they are scheduled.",
    "effect": "What is added to a pod, unless the pod already has it.",
    "policy": "Exactly one policy.",
    "virtualNode": "A virtual node, as in the keys virtualNode and virtualNodes of the ConfigMap.",
    "toleration": "A toleration, as in the spec of a pod.",
    "labelSelector": "All conditions must hold. {} matches everything.",
    "requirement": "One condition on a label.",
    "ratios": "Accepted, but has no effect.",
    "empty": "Without parameters: {}.",
}
_OF_FIELDS: Mapping[str, Mapping[str, str]] = {
    "selector": {
        "name": "Not empty, and unique in the list.",
        "namespaceSelector": "The labels that the pod's namespace must have.",
        "objectSelector": "The labels that the pod must have.",
        "effect": "What is added to the pods.",
        "policy": 'How the pods are scheduled. Default: {"virtualNodeOnly": {}}.',
        "priority": "Selectors with a larger priority come first. Default: 0.",
        "mode": "enforce (default); audit: only report matches; off: disable the selector.",
        "percentage": "The percentage of matching pods that the selector applies to. Default: 100.",
        "virtualNode": "The name of a virtual node in the key virtualNodes.",
    },
    "effect": {
        "annotations": "Annotations to add. Values are strings.",
        "labels": "Labels to add. Values are strings.",
        "at": "creation (default), or binding: only if the pod is bound to a virtual node.",
    },
    "policy": {
        "virtualNodeOnly": "Only on the virtual node.",
        "fair": "On the virtual node or any other node, as the scheduler decides.",
        "normalNodePrefer": "On other nodes if possible, otherwise on the virtual node.",
        "normalNodeOnly": "Not on the virtual node. Effects still apply.",
    },
    "virtualNode": {
        "nodeSelector": 'Labels of the virtual node. Default: {"k8s.aliyun.com/vnode": "true"}.',
        "tolerations": "For its taints. Default: k8s.aliyun.com/vnode=true:NoSchedule.",
        "unsupported": "For pods that ECI cannot run: warn (default), refuse or ignore.",
    },
    "toleration": {
        "key": "The key of the taint. Without one, the operator must be Exists.",
        "operator": "Equal (default) or Exists.",
        "value": "The value of the taint, for Equal.",
        "effect": "The effect of the taint. Default: all effects.",
        "tolerationSeconds": "For NoExecute: how many seconds the taint is tolerated.",
    },
    "labelSelector": {
        "matchLabels": "Labels and their values.",
        "matchExpressions": "Conditions with operators.",
    },
    "requirement": {
        "key": "The key of the label.",
        "operator": "In, NotIn, Exists or DoesNotExist.",
        "values": "For In and NotIn: at least one value.",
    },
    "ratios": {
        "cpuRatio": "Accepted, but has no effect.",
        "memoryRatio": "Accepted, but has no effect.",
    },
    "empty": {},
}
_LIMITS: Mapping[tuple[str, str], Mapping[str, int]] = {
    ("selector", "name"): {"minLength": 1},
    ("selector", "priority"): {"minimum": -(2**31), "maximum": 2**31 - 1},
    ("selector", "percentage"): {"minimum": 0, "maximum": 100},
}


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "schema",
        help=Message("print the JSON Schema of a list of selectors, for editors"),
        description=Message("Print the JSON Schema of a list of selectors, for editors."),
    )
    parser.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> int:
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return 0


def json_schema() -> dict[str, Any]:
    """Return the schema of a list of selectors.

    ``$defs`` has the schemas of its parts and of a virtual node.
    """
    forms: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (form.__name__, "validation", TypeAdapter(form))
        for form in (WrittenSelector, WrittenVirtualNode)
    ]
    _, made = TypeAdapter.json_schemas(forms, ref_template="{model}")
    return {
        "$schema": _DRAFT,
        "title": "ECI profile",
        "description": "The selectors of an ECI profile.",
        "type": "array",
        "items": {"$ref": "#/$defs/selector"},
        "$defs": {_NAMES[name]: _form(_NAMES[name], form) for name, form in made["$defs"].items()},
    }


def _form(name: str, form: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        field: {
            "description": _OF_FIELDS[name][field],
            **_value(value),
            **_LIMITS.get((name, field), {}),
        }
        for field, value in form["properties"].items()
    }
    return {
        "description": _OF_FORMS[name],
        "type": "object",
        "properties": fields,
        "additionalProperties": False,
        **({"required": form["required"]} if "required" in form else {}),
    }


def _value(value: Any) -> Any:
    """Return a schema of pydantic without defaults and titles, and with references renamed."""
    if isinstance(value, list):
        return [_value(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: f"#/$defs/{_NAMES[each]}" if key == "$ref" else _value(each)
        for key, each in value.items()
        if key not in ("default", "title")
    }
