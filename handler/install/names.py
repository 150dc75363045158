"""The names of the objects in the manifests that these commands read and write."""

from __future__ import annotations

__all__ = [
    "CA_SECRET",
    "CONFIG_MAP",
    "DNS_NAME",
    "NAMESPACE",
    "REGISTRATION",
    "REGISTRATIONS",
    "SERVICE",
    "TLS_SECRET",
]

NAMESPACE = "eci-profile"
SERVICE = "eci-profile"
DNS_NAME = f"{SERVICE}.{NAMESPACE}.svc"
"""The DNS name with which kube-apiserver calls the Service: that of the certificate."""

CA_SECRET = "eci-profile-ca"  # noqa: S105
TLS_SECRET = "eci-profile-tls"  # noqa: S105
CONFIG_MAP = "eci-profile-install"
"""The ConfigMap with what the Job creates: the default profile and the webhooks."""

REGISTRATION = "eci-profile"
REGISTRATIONS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
