"""What the demo writes: configurations, an ssh_config, and the lines to try."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from attrs import frozen

from teleport_conch.config.addresses import Address
from teleport_conch.errors import BadParameter

CLUSTER = "demo"
PROXY = "proxy"

# In an ssh_config, these would end a quoted path or stand for something else in it.
_AWKWARD = frozenset('"\\$%')
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=@:,")


@frozen
class Plan:
    """One demo.

    :ivar typed: the folder as the person at the keyboard wrote it; the lines to try begin there.
    :ivar host: the address of loopback that everything listens on.
    :ivar second_node: where a second node on this machine would listen.
    """

    typed: Path
    nodename: str
    login: str
    host: str
    auth_port: int
    proxy_port: int
    web_port: int
    node_port: int
    second_node: int

    @property
    def folder(self) -> Path:
        return self.typed.absolute()

    @property
    def cluster(self) -> str:
        """A node may not be called like its cluster."""
        return CLUSTER if self.nodename != CLUSTER else f"{CLUSTER}-cluster"

    @property
    def proxy_alias(self) -> str:
        """What the ssh_config calls the proxy."""
        return PROXY if self.nodename != PROXY else f"{CLUSTER}-{PROXY}"

    def address(self, port: int) -> str:
        return str(Address(self.host, port))

    # Configurations.

    def configuration(self) -> str:
        """``teleport.yaml``."""
        sections = {
            "teleport": {
                "nodename": self.nodename,
                "data_dir": str(self.folder / "data"),
                "auth_servers": [self.address(self.auth_port)],
                "log": {"output": str(self.folder / "teleport.log"), "severity": "INFO"},
            },
            "auth_service": {
                "enabled": "yes",
                "cluster_name": self.cluster,
                "listen_addr": self.address(self.auth_port),
                "session_recording": "node",
            },
            "proxy_service": {
                "enabled": "yes",
                "listen_addr": self.address(self.proxy_port),
                "ssh_public_addr": [self.address(self.proxy_port)],
                "web_listen_addr": self.address(self.web_port),
                "public_addr": [self.address(self.web_port)],
            },
            "ssh_service": {
                "enabled": "yes",
                "listen_addr": self.address(self.node_port),
                "labels": {"env": "demo"},
            },
        }
        return _as_yaml(sections)

    def second_configuration(self, ca_pin: str) -> str:
        """Of a second node on this machine, which needs a token beside it."""
        sections = {
            "teleport": {
                "nodename": f"{self.nodename}-2",
                "data_dir": str(self.folder / "second-data"),
                "auth_servers": [self.address(self.auth_port)],
                "ca_pin": ca_pin,
                "log": {"severity": "INFO"},
            },
            "auth_service": {"enabled": "no"},
            "proxy_service": {"enabled": "no"},
            "ssh_service": {
                "enabled": "yes",
                "listen_addr": self.address(self.second_node),
                "labels": {"env": "demo", "number": "2"},
            },
        }
        return _as_yaml(sections)

    # OpenSSH.

    def ssh_config(self) -> str:
        """For ``ssh -F``: to the nodes through the proxy, with the certificate, asking nothing."""
        return f"""\
# Written by `teleport demo` at each start; changes are lost.
Host {self.proxy_alias}
    HostName {self.host}
    Port {self.proxy_port}

Host {self.nodename} *.{self.cluster}
    {self._jump()}

Host *
    User {self.login}
    IdentityFile {self._quoted("user")}
    CertificateFile {self._quoted("user-cert.pub")}
    IdentitiesOnly yes
    UserKnownHostsFile {self._quoted("known_hosts")}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
"""

    def _jump(self) -> str:
        """How nodes are reached. With ProxyJump, ssh repeats its -F without quotes, which not every path survives."""
        path = str(self.folder / "ssh_config")
        if set(path) <= _PLAIN:
            return f"ProxyJump {self.proxy_alias}"
        return f"ProxyCommand ssh -F {shlex.quote(path)} -W [%h]:%p {self.proxy_alias}"

    def _quoted(self, name: str) -> str:
        return f'"{self.folder / name}"'

    # What to say.

    @property
    def web(self) -> str:
        """The address of the pages."""
        return f"https://{self.address(self.web_port)}/web"

    def lines(self, programs: Mapping[str, str], until: str, invite: str, ca_pin: str) -> str:
        """What to try next.

        :param programs: how ``tctl``, ``tsh`` and ``teleport`` are called here.
        :param until: when the certificate ends.
        :param invite: the secret of the link for the person of the demo; empty where they have had one.
        """
        at, node = self._at, self.nodename
        tctl = f"{programs['tctl']} -c {at('teleport.yaml')}"
        login = f"{programs['tsh']} login --proxy={self.address(self.web_port)} --user={self.login} --ca-pin={ca_pin}"
        steps: Sequence[tuple[str, Sequence[str]]] = (
            ("Try this in another terminal:", (f"ssh -F {at('ssh_config')} {node}",)),
            (
                "Files, in both ways that OpenSSH has:",
                (f"scp -F {at('ssh_config')} /etc/hosts {node}:/tmp/demo-hosts", f"sftp -F {at('ssh_config')} {node}"),
            ),
            self._pages(invite, tctl),
            ("Then, as people get their certificates:", (login, f"{programs['tsh']} ls")),
            ("The cluster, as its administrator sees it:", (f"{tctl} nodes ls", f"{tctl} events ls")),
            (
                "A second node on this machine, with the token that the first line prints:",
                (
                    f"{tctl} nodes add --ttl=1h",
                    f"{programs['teleport']} start -c {at('second-node.yaml')} --token=TOKEN",
                    f"ssh -F {at('ssh_config')} {node}-2.{self.cluster}",
                ),
            ),
        )
        text = "\n".join(f"{head}\n\n" + "".join(f"    {line}\n" for line in lines) for head, lines in steps)
        return (
            f"The cluster {self.cluster} is up: auth on {self.address(self.auth_port)}, proxy on"
            f" {self.address(self.proxy_port)} and {self.web}, node {node} on {self.address(self.node_port)}."
            f"\n\n{text}\n"
            f"The certificate of {self.login} is good until {until}; each start of the demo makes a new one.\n"
            f"Sessions with a terminal are recorded. The log is in {at('teleport.log')}. Ctrl-C stops the cluster.\n"
        )

    def _pages(self, invite: str, tctl: str) -> tuple[str, Sequence[str]]:
        warning = "The browser warns of the demo's own certificate"
        if invite:
            link = f"{self.web}/invite/{invite}"
            return f"Password and second factor of the user {self.login}. {warning}:", (link,)
        again = f"{tctl} users reset {self.login}"
        return f"The user {self.login} in a browser, and another link to begin anew. {warning}:", (self.web, again)

    def _at(self, name: str) -> str:
        return shlex.quote(str(self.typed / name))


def check_path(folder: Path) -> None:
    """:raises BadParameter: an ssh_config cannot hold the path."""
    path = str(folder)
    if not path.isprintable() or _AWKWARD & set(path):
        raise BadParameter(
            "--dir: a path with a quote, a backslash, a dollar or percent sign, or a control character cannot be"
            " written in an ssh_config. Choose another folder."
        )


def _as_yaml(sections: Mapping[str, object]) -> str:
    text = yaml.safe_dump(dict(sections), sort_keys=False, allow_unicode=True)
    return f"# Written by `teleport demo` at each start; changes are lost.\n{text}"
