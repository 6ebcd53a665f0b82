"""A cluster of real processes on loopback, set up as the documentation says, in a folder of its own."""

from __future__ import annotations

import getpass
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field

from tests.interop import api, services
from tests.interop.person import Person
from tests.interop.programs import Done, check, eventually, installed, run
from tests.interop.services import LOCALHOST, Service, free_port, temporary_folder, write_private

#: The account that sessions are opened as: a node that is not root serves its own only.
LOGIN = getpass.getuser()
CLUSTER_NAME = "interop.example"
STATIC_TOKEN = "a static token of the interop tests".replace(" ", "-")

JSON = dict[str, object]


def at(value: object, *path: str) -> object:
    """What lies in nested mappings, None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


@define(eq=False)
class Cluster:
    """Auth, a proxy and nodes, each a process with a ``data_dir`` of its own.

    :ivar heartbeat: between two beats of a host, as the configuration has it.
    """

    heartbeat: str = "1s"
    folder: Path = field(factory=temporary_folder)
    auth_port: int = field(factory=free_port)
    proxy_port: int = field(factory=free_port)
    web_port: int = field(factory=free_port)
    auth: Service = field(init=False)
    proxy: Service = field(init=False)
    nodes: dict[str, Service] = field(factory=dict)
    _exported: tuple[frozenset[object], str] = (frozenset(), "")

    def __attrs_post_init__(self) -> None:
        write_private(self.token_file, STATIC_TOKEN)
        self.auth = self._service("auth", "teleport-auth", self._auth_section(), self.auth_port)
        self.proxy = self._service("proxy", "teleport-proxy", self._proxy_section(), self.proxy_port)
        self.proxy.settings["teleport"].update(self.membership("proxy"))

    def without_second_factor(self) -> Cluster:
        """To be asked for before it starts: who logs in repeatedly would wait half a minute for each code."""
        self.auth.settings["auth_service"]["authentication"] = {"type": "local", "second_factor": "off"}
        return self

    # Its processes.

    def start(self, *node_names: str, labels: Mapping[str, Mapping[str, str]] | None = None) -> Cluster:
        """Auth first, then a proxy and nodes with these names."""
        self.auth.start()
        hosts = [self.proxy, *(self.node(name, labels=(labels or {}).get(name, {})) for name in node_names)]
        for host in hosts:
            host.launch()
        for host in hosts:
            host.ready()
        self.know(*node_names)
        return self

    def stop(self) -> None:
        """Ends all of it at once."""
        services.end(*self.nodes.values(), self.proxy, self.auth)

    def node(
        self,
        name: str,
        *,
        key: str = "",
        labels: Mapping[str, str] | None = None,
        token: str = "",
        settings: Mapping[str, object] | None = None,
        teleport: Mapping[str, object] | None = None,
    ) -> Service:
        """A node that is not started yet.

        :param key: tells it from others of the same nodename.
        :param token: in place of the static one's file.
        :param settings, teleport: further keys of the sections ``ssh_service`` and ``teleport``.
        """
        port = free_port()
        section = {"enabled": True, "listen_addr": f"{LOCALHOST}:{port}", "labels": dict(labels or {})}
        node = self._service(key or name, "teleport-node", {"ssh_service": section | dict(settings or {})}, port)
        node.settings["teleport"].update(self.membership(name, token) | dict(teleport or {}))
        self.nodes[node.name] = node
        return node

    def membership(self, nodename: str, token: str = "") -> JSON:
        """The keys of ``teleport`` by which a host on this machine joins."""
        return {
            "nodename": nodename,
            "auth_token": token or str(self.token_file),
            "auth_servers": [f"{LOCALHOST}:{self.auth_port}"],
            "advertise_ip": LOCALHOST,
        }

    def _service(self, name: str, plugin: str, sections: Mapping[str, JSON], port: int) -> Service:
        folder = self.folder / name
        teleport: JSON = {"nodename": name, "data_dir": str(folder / "data")}
        settings = {"teleport": teleport, **sections}
        return Service(name, plugin, folder, settings, port)

    def _auth_section(self) -> Mapping[str, JSON]:
        section: JSON = {
            "enabled": True,
            "listen_addr": f"{LOCALHOST}:{self.auth_port}",
            "cluster_name": CLUSTER_NAME,
            "tokens": [f"proxy,node:{self.token_file}"],
            "heartbeat_interval": self.heartbeat,
        }
        return {"auth_service": section, "proxy_service": {"enabled": False}, "ssh_service": {"enabled": False}}

    def _proxy_section(self) -> Mapping[str, JSON]:
        section: JSON = {
            "enabled": True,
            "listen_addr": f"{LOCALHOST}:{self.proxy_port}",
            "web_listen_addr": f"{LOCALHOST}:{self.web_port}",
        }
        return {"proxy_service": section}

    @property
    def token_file(self) -> Path:
        return self.folder / "static.token"

    # What its administrator sees.

    def tctl(self, *arguments: str, code: int = 0) -> Done:
        """Runs ``tctl`` on the auth host."""
        return check(run(installed("tctl"), "-c", str(self.auth.config), *arguments), code)

    def ask(self, *arguments: str) -> list[JSON]:
        """The answer of ``tctl`` as a list of resources."""
        answer = json.loads(self.tctl(*arguments, "--format=json").text)
        assert isinstance(answer, list), answer
        return answer

    def api(self, path: str) -> list[JSON]:
        """The items that the API answers; what ``tctl`` shows, without the time that a command takes to start."""
        items = api.get(LOCALHOST, self.auth_port, self.auth.data_dir, path)["items"]
        assert isinstance(items, list), items
        return items

    def status(self) -> Mapping[str, object]:
        answer = json.loads(self.tctl("status", "--format=json").text)
        assert isinstance(answer, dict), answer
        return answer

    def pin(self) -> str:
        pins = self.status()["ca_pins"]
        assert isinstance(pins, list), pins
        return str(pins[0])

    def listed(self, service: Service | str) -> JSON | None:
        """The node as auth lists it, by its UUID or by its name."""
        wanted = service if isinstance(service, str) else service.host_uuid
        for node in self.api("/v1/namespaces/default/nodes"):
            if wanted in (at(node, "metadata", "name"), at(node, "spec", "hostname")):
                return node
        return None

    def state(self, service: Service | str) -> str:
        """``online``, ``late``, ``offline`` or ``unknown``; empty for a node that is not listed."""
        return str(at(self.listed(service), "status", "state") or "")

    def becomes(self, service: Service | str, *states: str) -> None:
        """Waits until the node is in one of these states."""
        name = service if isinstance(service, str) else service.name
        eventually(lambda: self.state(service) in states, f"{name} is {' or '.join(states)}")

    def know(self, *node_names: str) -> None:
        """Waits until auth has heard of these nodes."""
        wanted = set(node_names)

        def online() -> bool:
            found = self.api("/v1/namespaces/default/nodes")
            return wanted <= {at(node, "spec", "hostname") for node in found if at(node, "status", "state") == "online"}

        eventually(online, f"{', '.join(sorted(wanted))} are online")

    def events(self, *names: str) -> list[JSON]:
        """The newest events with these names, as auth has them by now."""
        return self.api("/v1/events?limit=1000&" + "&".join(f"event={name}" for name in names))

    def event(self, name: str, matches: Callable[[JSON], object], what: str) -> JSON:
        """Waits for an event: hosts send theirs by and by."""
        found = eventually(lambda: list(filter(matches, self.events(name))), f"there is an event {name}: {what}")
        return found[0]

    # Its people.

    def person(self, name: str, logins: Sequence[str] = (LOGIN,), *more: str) -> Person:
        """Somebody with a key and a certificate from ``tctl auth sign``, and the authority of the hosts."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        key = folder / name
        self.tctl("auth", "sign", f"--user={name}", f"--logins={','.join(logins)}", "--format=openssh",
                  f"--out={key}", *more)  # fmt: skip
        person = Person(folder, key, logins[0], self.proxy_port)
        self.acquaint(person)
        return person

    def known_hosts(self) -> str:
        """What ``tctl auth export --type=host`` prints; asked again when other hosts are there than the last time."""
        hosts = frozenset(at(node, "metadata", "name") for node in self.api("/v1/namespaces/default/nodes"))
        if self._exported[0] != hosts:
            self._exported = (hosts, self.tctl("auth", "export", "--type=host").text)
        return self._exported[1]

    def acquaint(self, person: Person) -> None:
        """Gives a person the hosts' authority as it is exported now."""
        person.known_hosts.write_text(self.known_hosts())
        person.write_config()
