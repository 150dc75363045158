"""Reviews that a real kube-apiserver sent, and a profile that some of their pods match."""

from __future__ import annotations

import json

import yaml
from server import DATA

REVIEWS = {path.stem: json.loads(path.read_text()) for path in DATA.glob("reviews/*.json")}

SELECTORS = [
    {
        "name": "eci",
        "objectSelector": {
            "matchExpressions": [
                {"key": "created-by-eci", "operator": "In", "values": ["true"]},
            ]
        },
        "effect": {
            "annotations": {"k8s.aliyun.com/eci-image-cache": "true", "example.com/owner": "eci"},
            "labels": {"placed-by": "eci-profile", "app": "eci"},
        },
    },
    {"name": "gpu", "objectSelector": {"matchLabels": {"gpu": "true"}}, "policy": {"fair": {}}},
    {"name": "opt-in", "objectSelector": {"matchLabels": {"alibabacloud.com/eci": "true"}}},
    {
        "name": "nobody",
        "namespaceSelector": {"matchLabels": {"no": "such"}},
        "effect": {"labels": {"wrong": "wrong"}},
    },
]

PROFILE = yaml.safe_dump(
    {
        "kind": "ConfigMap",
        "metadata": {"name": "eci-profile", "namespace": "kube-system"},
        "data": {"selectors": json.dumps(SELECTORS)},
    }
)
