"""Our services, each in a process of its own as in production, with a configuration and a folder for the benchmark."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import yaml
from attrs import field, frozen

from bench.load import ANSWER_S, Caller
from bench.programs import LOOPBACK, Running, free_port, running, wait_for_port, wait_until
from teleport_conch.certs import keys
from teleport_conch.certs.identity import HostIdentity
from teleport_conch.certs.names import SERVER_NAME
from teleport_conch.client.joining import identity_of
from teleport_conch.resources.joining import Heartbeat, JoinAnswer, JoinRequest
from teleport_conch.resources.server import CommandLabel, Server
from teleport_conch.version import VERSION

CLUSTER = "bench.example"
TOKEN = "the-token-of-a-benchmark-on-loopback-only"
OFF = {"enabled": False}


@frozen
class Auth:
    """An auth service that runs.

    :ivar folder: of its configuration and its data.
    """

    folder: Path
    port: int
    pid: int
    _admin: Path = field(init=False)

    @_admin.default
    def _write_admin(self) -> Path:
        return write_credentials(self.folder / "admin.pem", self.admin)

    @property
    def configuration(self) -> Path:
        return self.folder / "auth.yaml"

    @property
    def authority(self) -> Path:
        """The file by which clients know it."""
        return self.folder / "data" / "ca.cert"

    @property
    def admin(self) -> HostIdentity:
        """The identity that ``tctl`` uses."""
        return HostIdentity.from_json(json.loads((self.folder / "data/identities/admin.json").read_text()))

    def caller(self, path: str, body: Mapping[str, object]) -> Caller:
        """A load by the administrator."""
        return Caller(self._admin, path, compact(body))

    def person(self, path: str) -> Caller:
        """What a person asks for again and again, who has the role ``access`` and the login ``root``."""
        ssh_key, tls_key = keys.generate_ssh_key(), keys.generate_tls_key()
        signed = self.call(
            "POST",
            "/v1/ca/user/certs",
            {
                "user": "alice",
                "logins": ["root"],
                "ttl": 3600,
                "public_ssh_key": keys.public_line(keys.public_blob(ssh_key.public_key())),
                "public_tls_key": keys.public_pem(tls_key.public_key()),
            },
        )
        credentials = self.folder / "alice.pem"
        credentials.touch(mode=0o600)
        credentials.write_text(f"{str(signed['tls_cert']).strip()}\n{keys.private_pem(tls_key)}")
        return Caller(credentials, path, b"", "GET")

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, credentials: Path | None = None
    ) -> dict[str, object]:
        """One call by the administrator, or with other credentials."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(credentials or self._admin)
        connection = HTTPConnection(SERVER_NAME)
        plain = socket.create_connection((LOOPBACK, self.port), ANSWER_S)
        connection.sock = context.wrap_socket(plain, server_hostname=SERVER_NAME)
        connection.request(method, path, compact(body) if body is not None else None)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, text
        found: dict[str, object] = json.loads(text)
        return found

    def join(self, number: int) -> Caller:
        """A new node joins, and this is the load that it makes by beating."""
        ssh_key, tls_key = keys.generate_ssh_key(), keys.generate_tls_key()
        request = JoinRequest(
            host_uuid=str(uuid.uuid4()),
            node_name=f"beating{number}",
            role="Node",
            token=TOKEN,
            public_tls_key=keys.public_pem(tls_key.public_key()),
            public_ssh_key=keys.public_line(keys.public_blob(ssh_key.public_key())),
        )
        answer = JoinAnswer.from_json(self.call("POST", "/v1/tokens/register", request.to_json()))
        identity = identity_of(answer, request, keys.ssh_private_pem(ssh_key), keys.private_pem(tls_key))
        beat = Heartbeat(f"bench-{number}", announced(identity.host_uuid, identity.node_name, number))
        credentials = write_credentials(self.folder / f"{identity.host_uuid}.pem", identity)
        return Caller(credentials, f"/v1/presence/node/{identity.host_uuid}", compact(beat.to_json()))


def compact(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def write_credentials(path: Path, identity: HostIdentity) -> Path:
    """Certificate and key of a host, for OpenSSL."""
    path.write_text(f"{identity.tls_certificate.strip()}\n{identity.tls_key}")
    path.chmod(0o600)
    return path


def announced(host_uuid: str, name: str, number: int) -> Server:
    """What a usual node says of itself: a few labels, one of them a command's."""
    return Server(
        kind="node",
        name=host_uuid,
        hostname=name,
        addr=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:3022",
        labels={"env": "prod", "role": "web", "rack": f"r{number % 40}"},
        cmd_labels={"kernel": CommandLabel(("uname", "-r"), 3600.0, "6.1.0-29-amd64")},
        version=VERSION,
    )


def write_configuration(path: Path, sections: Mapping[str, object]) -> Path:
    path.write_text(yaml.safe_dump(sections))
    path.chmod(0o600)
    return path


def service(name: str, configuration: Path) -> Sequence[str | Path]:
    """The command by which a service starts."""
    return [sys.executable, "-m", "twisted", "--log-level=warn", name, "-c", configuration]


@contextmanager
def auth(folder: Path, registered: int = 0) -> Iterator[Auth]:
    """An auth service with so many nodes that joined earlier and are not running."""
    folder.mkdir(mode=0o700)
    if registered:
        with running(
            [sys.executable, "-m", "bench.registered", folder / "data", str(registered)], folder / "log"
        ) as filling:
            if filling.wait(60):
                raise RuntimeError((folder / "log").read_text())
    port, log = free_port(), folder / "auth.log"
    sections = {
        "teleport": {"nodename": "bench-auth", "data_dir": str(folder / "data")},
        "auth_service": {
            "enabled": True,
            "listen_addr": f"{LOOPBACK}:{port}",
            "cluster_name": CLUSTER,
            "tokens": [f"node,proxy:{TOKEN}"],
        },
        "proxy_service": OFF,
        "ssh_service": OFF,
    }
    configuration = write_configuration(folder / "auth.yaml", sections)
    with running(service("teleport-auth", configuration), log) as program:
        wait_for_port(port, log)
        wait_until((folder / "data/ca.cert").exists, "The administrator's identity", log)  # written last
        yield Auth(folder, port, program.pid)


@contextmanager
def member(
    auth: Auth, kind: str, section: str, further: Mapping[str, object] | None = None, workers: int = 1
) -> Iterator[Running]:
    """A proxy or a node of the cluster, until the end of the block.

    :param section: of the configuration, in which ``further`` is added.
    """
    folder, port = auth.folder / (kind if workers == 1 else f"{kind}-{workers}"), free_port()
    folder.mkdir(mode=0o700)
    web = {"web_listen_addr": f"{LOOPBACK}:{free_port()}"} if kind == "proxy" else {}
    own = {"enabled": True, "listen_addr": f"{LOOPBACK}:{port}", **web, **(further or {})}
    sections: dict[str, object] = {
        "teleport": {
            "nodename": f"bench-{folder.name}",
            "workers": workers,
            "data_dir": str(folder / "data"),
            "auth_token": TOKEN,
            "auth_servers": [f"{LOOPBACK}:{auth.port}"],
        },
        **dict.fromkeys(("auth_service", "proxy_service", "ssh_service"), OFF),
        section: own,
    }
    log = folder / "log"
    command = service(f"teleport-{kind}", write_configuration(folder / f"{kind}.yaml", sections))
    with running(command, log) as program:
        wait_for_port(port, log)
        yield Running(port, program.pid)


def ready_of(auth: Auth, name: str) -> bool:
    """Whether a node of that name is listed as online."""
    nodes = auth.call("GET", "/v1/namespaces/default/nodes")["items"]
    assert isinstance(nodes, list)
    return any(node["spec"]["hostname"] == name and node["status"]["state"] == "online" for node in nodes)
