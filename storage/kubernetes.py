"""
Variables that Kubernetes sets in each container, for each service of its namespace.

The same as `jobs.process.kubernetes`, for neither room knows the other. A service that is called `imagemill-s3` has the
very prefix of our settings. See "Environment variables" in https://kubernetes.io/docs/concepts/services-networking/service/,
and `FromServices` in kubernetes/pkg/kubelet/envvars/envvars.go.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

_URL = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
_PROTOCOLS = ("tcp", "udp", "sctp")
_FORM = re.compile(
    r"\w+?_(?:(?P<address>SERVICE_HOST|PORT_\d+_(TCP|UDP|SCTP)_ADDR)"
    r"|(?P<number>SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)_PORT)"
    r"|(?P<protocol>PORT_\d+_(TCP|UDP|SCTP)_PROTO)"
    r"|(?P<url>PORT(_\d+_(TCP|UDP|SCTP))?))",
    re.ASCII,
)


def is_service_variable(name: str, value: str) -> bool:
    """Whether Kubernetes set this variable. Its value shows it, where a setting of ours has the same name."""
    form = _FORM.fullmatch(name)
    match form and form.lastgroup:
        case "address":
            return _is_address(value)
        case "number":
            return value.isdecimal()
        case "protocol":
            return value in _PROTOCOLS
        case "url":
            return _URL.fullmatch(value) is not None
        case _:
            return False


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
