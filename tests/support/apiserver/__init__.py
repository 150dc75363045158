"""A kube-apiserver on loopback, as far as this project and the real kubectl talk to one.

It speaks HTTPS, keeps its objects in memory, and can be told to misbehave. The function's service
account may get ConfigMaps and namespaces and create Events, with the rights of effects at binding
get nodes and pods too, with those of narrow-registration get and patch the registration, and is
refused all else as by RBAC; other accounts have the rights that a test gives them. An admin may do
all, and what an admin writes is sent to the webhooks that are registered by URL. Anonymous users
are off, as in many managed clusters: without a good token it answers 401.
"""

from .api import APIServer
from .grants import Grant, asked, granted
from .status import USER
from .wire import Fault, FaultKind, Request

__all__ = ["USER", "APIServer", "Fault", "FaultKind", "Grant", "Request", "asked", "granted"]
