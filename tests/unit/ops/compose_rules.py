"""
What docker-compose.yml must never say by default: every way in which Flower, the API, Redis or the store would be open.

The file is read as it is, with the defaults of its variables; no Docker is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml

Service = dict[str, Any]

PUBLISHED = {"api": "8000", "flower": "5555"}
_ONE_SHOTS = ("passwords", "models")
_ROOT_WITHOUT_NETWORK = "passwords"
_IMAGES_WITH_A_USER = ("imagemill-api", "imagemill-flower", "imagemill-worker", "imagemill-store")
# Which services are in a network; whoever shares one with another reaches it.
_NETWORKS = {
    "queue": {"redis", "worker", "api", "flower"},
    "images": {"s3", "worker", "api"},
    "metrics": {"prometheus", "worker", "api", "flower"},
    "flower": {"flower"},
    "outside": {"models", "worker", "api"},
}
_SECRETS = {
    "passwords": {"secrets", "secrets-redis", "secrets-s3", "secrets-flower", "secrets-programs"},
    **{"redis": {"secrets-redis"}, "s3": {"secrets-s3"}, "flower": {"secrets-flower"}},
    **{"api": {"secrets-programs"}, "worker": {"secrets-programs"}},
}
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY(_ID)?$")
_SHORT_PORT = re.compile(r"(?P<host>[^:]+|\[[0-9a-f:.]+\]):(?P<published>\d+):(?P<inside>\d+)")
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<sign>:?-)(?P<default>[^}]*)\}")


class _Loader(yaml.SafeLoader):
    """Knows Compose's own tags."""


_Loader.add_constructor("!reset", lambda *_: None)


def read_services(file: Path, environment: Mapping[str, str] | None = None) -> dict[str, Service]:
    """The services of a Compose file, by name, as they are with these variables set."""
    given = environment or {}

    def value_of(match: re.Match[str]) -> str:
        value = given.get(match["name"])
        is_set = value is not None and (value != "" or match["sign"] == "-")
        return str(value) if is_set else match["default"]

    text = _VARIABLE.sub(value_of, file.read_text("utf-8"))
    services: dict[str, Service] = yaml.load(text, Loader=_Loader)["services"]  # noqa: S506 - a SafeLoader, see above
    return services


def open_doors(services: Mapping[str, Service]) -> list[str]:
    """One sentence for each way in, or out, that should not be there."""
    found: list[str] = []
    for name, service in services.items():
        found += [f"{name}: {problem}" for problem in (*_ports(name, service), *_rights(name, service))]
        found += [f"{name}: {problem}" for problem in (*_upkeep(name, service), *_defaults(service))]
        found += [f"{name}: {problem}" for problem in _reach(name, service)]
    found += [f"api: {problem}" for problem in _api(services["api"])]
    found += [f"flower: {problem}" for problem in _flower(services["flower"])]
    found += [f"redis: {problem}" for problem in _redis(services["redis"])]
    return found


def open_scripts(entrypoint: str, store: str) -> list[str]:
    """The same for the scripts that start Flower and the store: what makes them ask for a password."""
    found = []
    flower = re.search(r"^    flower\)\n(.*?);;", entrypoint, re.DOTALL | re.MULTILINE)
    login = 'FLOWER_BASIC_AUTH="$(cat /run/secrets/flower_user):$(cat /run/secrets/flower_password)"'
    if flower is None or login not in flower[1] or "export FLOWER_BASIC_AUTH" not in flower[1]:
        found.append("flower: starts without a password")
    if "UNAUTHENTICATED" in entrypoint:
        found.append("flower: its API is open")
    serve = re.search(r"^    serve\)\n(.*?);;", store, re.DOTALL | re.MULTILINE)
    if serve is None or "export RCLONE_AUTH_KEY=" not in serve[1]:
        found.append("s3: starts without a key")
    return found


def _ports(name: str, service: Service) -> Iterator[str]:
    if service.get("network_mode") == "host":
        yield "is in the host's network"
    for port in service.get("ports", []):
        short = _SHORT_PORT.fullmatch(str(port))  # Compose's long form is not read, and so refused.
        if short is None or PUBLISHED.get(name) != short["inside"]:
            yield f"publishes {port}"
        elif not _is_loopback(short["host"]):
            yield f"publishes {short['published']} on {short['host']}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _reach(name: str, service: Service) -> Iterator[str]:
    for network in service.get("networks", [] if service.get("network_mode") == "none" else ["default"]):
        if name not in _NETWORKS.get(network, ()):
            yield f"is in the network {network}"
    mounted = {str(each).partition(":")[0] for each in service.get("volumes", [])}
    for volume in sorted(each for each in mounted if each.startswith("secrets")):
        if volume not in _SECRETS.get(name, ()):
            yield f"reads {volume}"


def _rights(name: str, service: Service) -> Iterator[str]:
    if (
        service.get("privileged")
        or service.get("pid") == "host"
        or "/var/run/docker.sock" in str(service.get("volumes"))
    ):
        yield "owns the host"
    if service.get("cap_drop") != ["ALL"]:
        yield "keeps capabilities"
    if service.get("security_opt") != ["no-new-privileges:true"]:
        yield "may gain privileges"
    if service.get("read_only") is not True:
        yield "writes into its image"
    has_user = str(service["image"]).partition(":")[0] in _IMAGES_WITH_A_USER
    user = str(service.get("user", "10001" if has_user else "0")).partition(":")[0]
    if user in ("0", "root") and (name != _ROOT_WITHOUT_NETWORK or service.get("network_mode") != "none"):
        yield "runs as root"
    if service.get("cap_add") and name != _ROOT_WITHOUT_NETWORK:
        yield f"gains {service['cap_add']}"


def _upkeep(name: str, service: Service) -> Iterator[str]:
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    for limit, what in (("memory", "all memory"), ("pids", "all processes"), ("cpus", "all processors")):
        if limit not in limits:
            yield f"may take {what}"
    if service.get("restart") != ("no" if name in _ONE_SHOTS else "unless-stopped"):
        yield "has another restart policy"
    if name not in _ONE_SHOTS and "test" not in service.get("healthcheck", {}):
        yield "has no health check"
    if "container_name" in service:
        yield "has a fixed name, so that it cannot be scaled"


def _defaults(service: Service) -> Iterator[str]:
    for variable, value in (service.get("environment") or {}).items():
        if _SECRET.search(variable) and variable != "IMAGEMILL_API_REQUIRE_KEY" and value not in ("", None):
            yield f"{variable} has a value that everybody can read here"


def _api(service: Service) -> Iterator[str]:
    if (service.get("environment") or {}).get("IMAGEMILL_API_REQUIRE_KEY") != "true":
        yield "answers without a key"


def _flower(service: Service) -> Iterator[str]:
    if service.get("command") != ["flower"] or "entrypoint" in service:
        yield "is started in another way than by the script that gives it a password"
    for variable in service.get("environment") or {}:
        if variable.startswith("FLOWER_"):
            yield f"{variable} would win over that script"


def _redis(service: Service) -> Iterator[str]:
    command = " ".join(service.get("command") or [])
    wanted = ("requirepass $$(cat /run/secrets/redis_password)", "appendonly yes", "maxmemory-policy noeviction")
    for line in wanted:
        if line not in command:
            yield f"has no `{line}`"
    if "protected-mode no" in command:
        yield "has protected-mode off"
