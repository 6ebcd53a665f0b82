"""The options that ``teleport start`` and the four ``twist`` plugins have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from twisted.python.usage import Options, UsageError

from teleport_conch.config.addresses import as_ip
from teleport_conch.config.flags import parse_labels
from teleport_conch.config.loading import load, load_encoded
from teleport_conch.config.log import direct_log
from teleport_conch.config.settings import SECTIONS, Settings
from teleport_conch.errors import TeleportError

#: A whole configuration in base64, used where neither --config nor --config-string is given.
ENVIRONMENT = "TELEPORT_CONFIG"

_NOT_BUILT = {
    "insecure-no-tls": "the proxy serves its web port by TLS only",
    "fips": "the algorithms that are offered cannot be chosen",
    "diag-addr": "there is no diagnostics service",
    "bootstrap": "the configuration makes no resources",
}

_ONE_AUTH = (
    "teleport.workers has to be 1 where auth is enabled: one process at a time writes the state of the cluster. "
    "Start node and proxy by themselves (--roles=node,proxy), with a data_dir of their own."
)

_PARAMETERS: dict[str, str] = {
    "token": "teleport.auth_token",
    "ca-pin": "teleport.ca_pin",
    "nodename": "teleport.nodename",
    "advertise-ip": "teleport.advertise_ip",
    "pid-file": "teleport.pid_file",
    "workers": "teleport.workers",
}


class TeleportOptions(Options):
    """Options that end as ``settings``. A plugin's ``Options`` inherits them and says which services it starts.

    ``settings.<service>.enabled`` is true for exactly the services that this process is to start.
    """

    #: The services that the program can start: some of ``auth``, ``proxy``, ``node``.
    services: ClassVar[frozenset[str]] = frozenset(SECTIONS)

    optFlags = [
        ["debug", "d", "Log everything, to stderr."],
        ["permit-user-env", None, "Not built yet: read ~/.tsh/environment."],
        ["insecure", None, "Refused: every TLS connection is verified."],
        ["insecure-no-tls", None, "Not built yet: serve the web port without TLS."],
        ["fips", None, "Not built yet."],
    ]
    optParameters = [
        ["config", "c", None, "Configuration file (/etc/teleport.yaml, if it is there)."],
        ["config-string", None, None, "A whole configuration, in base64."],
        ["roles", "r", None, "Services to start: a comma list of proxy, node, auth."],
        ["token", None, None, "Join token, or better the absolute path of a file that holds it."],
        ["ca-pin", None, None, "Pin of the cluster's host authority, as 'tctl status' shows it: sha256:..."],
        ["nodename", None, None, "Name of this node (the host's name)."],
        ["labels", None, None, 'Labels of this node: env=prod,uptime=[1m:"uptime -p"]'],
        ["advertise-ip", None, None, "Address under which others reach this host."],
        ["listen-ip", "l", None, "IP address that every service listens on (0.0.0.0)."],
        ["pid-file", None, None, "File to write the process's number to."],
        ["workers", None, None, "Processes that share the connections of node and proxy (1)."],
        ["diag-addr", None, None, "Not built yet: address of the diagnostics service."],
        ["bootstrap", None, None, "Not built yet: resources for the very first start."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.auth_servers: list[str] = []
        self.settings = Settings()

    def opt_auth_server(self, address: str) -> None:
        """Address of the auth server (127.0.0.1:3025); may be given several times."""
        self.auth_servers.append(address)

    def postOptions(self) -> None:
        """Parse the configuration into ``settings``.

        :raises UsageError: with the sentences of what is wrong.
        """
        self._refuse_what_is_not_built()
        try:
            settings = self._listening(self._load(self._overrides()))
            if self.parent is not None:
                direct_log(settings.teleport.log, self.parent)
        except TeleportError as error:
            raise UsageError(error.sentence) from None
        if not settings.enabled():
            raise UsageError(self._nothing_to_start())
        if settings.auth.enabled and settings.teleport.workers > 1:
            raise UsageError(_ONE_AUTH)
        self.settings = settings

    def _refuse_what_is_not_built(self) -> None:
        if self["insecure"]:
            raise UsageError("--insecure is refused: every TLS connection is verified. Leave the flag out.")
        for flag, lacks in _NOT_BUILT.items():
            if self[flag]:
                raise UsageError(f"--{flag} is not built yet: {lacks}. Leave the flag out.")

    def _load(self, overrides: Mapping[str, object]) -> Settings:
        path, encoded = self["config"], self["config-string"]
        if path is not None and encoded is not None:
            raise UsageError("Give --config or --config-string, not both.")
        if encoded is not None:
            return load_encoded(encoded, "--config-string", overrides)
        if path is None and os.environ.get(ENVIRONMENT):
            return load_encoded(os.environ[ENVIRONMENT], ENVIRONMENT, overrides)
        return load(None if path is None else Path(path), overrides)

    def _overrides(self) -> Mapping[str, object]:
        found: dict[str, object] = {key: self[flag] for flag, key in _PARAMETERS.items()}
        found["teleport.auth_servers"] = self.auth_servers or None
        if self["debug"]:
            found |= {"teleport.log.severity": "debug", "teleport.log.output": "stderr"}
        if self["permit-user-env"]:
            found["ssh_service.permit_user_env"] = True
        if self["labels"] is not None:
            try:
                labels, commands = parse_labels(self["labels"])
            except ValueError as error:
                raise UsageError(f"--labels: {error}") from None
            found |= {"ssh_service.labels": labels, "ssh_service.commands": commands}
        return found | dict(self._enabled())

    def _enabled(self) -> Iterable[tuple[str, bool]]:
        """Which sections are on or off whatever the file says."""
        roles = self._roles()
        for service, section in SECTIONS.items():
            if service not in self.services:
                yield f"{section}.enabled", False
            elif roles is not None:
                yield f"{section}.enabled", service in roles

    def _roles(self) -> frozenset[str] | None:
        if self["roles"] is None:
            return None
        roles = frozenset(role.strip().lower() for role in self["roles"].split(","))
        if not roles <= self.services:
            raise UsageError(f"--roles: this starts {', '.join(sorted(self.services))}, and nothing else.")
        return roles

    def _listening(self, settings: Settings) -> Settings:
        host = self["listen-ip"]
        if host is None:
            return settings
        ip = as_ip(host)
        if ip is None:
            raise UsageError(f"--listen-ip: '{host[:64]}' is not an IP address.")
        return settings.listening_on(str(ip))

    def _nothing_to_start(self) -> str:
        sections = sorted(SECTIONS[service] for service in self.services)
        return f"There is nothing to start: the configuration says 'enabled: no' in {', '.join(sections)}."
