"""What every benchmark of SSH stands on: a person's files, and the servers that they open, each found by a name.

Key, certificate, configuration and ``known_hosts`` are the same for all servers: whatever is compared with ours takes
the certificates of the cluster, and shows a host certificate that the cluster signed for it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import define, field, frozen

from bench.account import account
from bench.cluster import Auth, auth, member, ready_of
from bench.programs import (
    LOOPBACK,
    Broken,
    Command,
    Running,
    free_port,
    running,
    timed,
    wait_for_port,
    wait_until,
)
from teleport_conch.certs import keys
from teleport_conch.certs.public import PublicAuthority

JUMP, TARGET = "openssh-jump", "openssh-target"
PROXY, NODE = "bench-proxy", "bench-node"
WORKERS = "bench-proxy-2"
"""A proxy of two workers."""
DIRECT = "bench-node-direct"
"""The node without the proxy in front of it; NODE alone is a name that the proxy knows."""
ASYNCSSH, ENGINE = "asyncssh", "engine"
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "shouting.py"
SSHD_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


@frozen
class Person:
    """Who logs in.

    :ivar key: a path; its certificate is beside it, and the lines that know every host end in ``.known``.
    """

    login: str
    key: Path

    @property
    def certificate(self) -> Path:
        return self.key.with_name(f"{self.key.name}-cert.pub")

    @property
    def known_hosts(self) -> Path:
        return self.key.with_name(f"{self.key.name}.known")


@define(eq=False)
class Stage:
    """A cluster's auth, a person, and the servers that were started so far, all until the end of the block."""

    folder: Path
    auth: Auth
    person: Person
    _stack: ExitStack
    servers: dict[str, Running] = field(factory=dict)

    @property
    def configuration(self) -> Path:
        return self.folder / "ssh_config"

    def ssh(self, *words: str | Path) -> Command:
        """The client, by our configuration."""
        return ["ssh", "-F", self.configuration, *words]

    def start_openssh(self, *names: str, **options: str) -> None:
        """An ``sshd`` of each name, with further options for its configuration."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it, and the service of Debian makes it
        for name in names:
            self._add(name, self._stack.enter_context(_sshd(self, name, options)))

    def start_cluster(self, proxy: bool = False, **node: object) -> None:
        """A node with these settings, without PAM as the others, and a proxy."""
        if proxy:
            self._add(PROXY, self._stack.enter_context(member(self.auth, "proxy", "proxy_service")))
        node = {"accept_env": ["SHLVL"], "pam": {"enabled": False}, **node}
        self._add(NODE, self._stack.enter_context(member(self.auth, "node", "ssh_service", node)))
        wait_until(lambda: ready_of(self.auth, NODE), "The node in the list", self.auth.folder / "auth.log")

    def start_proxies(self) -> None:
        """One proxy of one worker, and one of two, which pass on to hosts of this machine that are no nodes."""
        further = {"unregistered_hosts": [LOOPBACK]}
        for name, workers in ((PROXY, 1), (WORKERS, 2)):
            proxy = member(self.auth, "proxy", "proxy_service", further, workers)
            self._add(name, self._stack.enter_context(proxy))

    def start_asyncssh(self) -> None:
        """A server of AsyncSSH that takes logins, and starts nothing."""
        port, files = free_port(), _host_files(self, ASYNCSSH)
        self._start(ASYNCSSH, port, ["-m", "bench.bare_ssh", str(port), files, f"{files}.user-ca"])

    def start_engine(self) -> None:
        """Our engine without a cluster around it: the example of the manual."""
        port, files = free_port(), _host_files(self, ENGINE)
        endpoint = f"tcp:{port}:interface={LOOPBACK}"
        self._start(ENGINE, port, [EXAMPLE, endpoint, files, f"{files}-cert.pub", f"{files}.user-ca"])

    def _start(self, name: str, port: int, arguments: Command) -> None:
        log = self.folder / f"{name}.log"
        program = self._stack.enter_context(running([sys.executable, *arguments], log))
        wait_for_port(port, log)
        self._add(name, Running(port, program.pid))

    def warm(self, command: Command) -> None:
        """Until it works: a proxy learns of a new node a moment after auth does."""
        log = self.folder / "ssh.log"

        def works() -> bool:
            try:
                timed(command)
            except Broken as problem:
                log.write_text(str(problem))
                return False
            return True

        wait_until(works, "A login", log)

    def _add(self, name: str, server: Running) -> None:
        self.servers[name] = server
        _write(self.configuration, {"": _configuration(self.person, self.servers)})


@contextmanager
def stage(folder: Path, other_account: bool = False) -> Iterator[Stage]:
    """The account is that of whoever measures, or one of its own, with ``/bin/sh`` (which only root can have made)."""
    with ExitStack() as stack:
        running_auth = stack.enter_context(auth(folder / "cluster"))
        login = stack.enter_context(account(own=not other_account))
        yield Stage(folder, running_auth, _person(folder, running_auth, login), stack)


def _person(folder: Path, running_auth: Auth, login: str) -> Person:
    """A person's key with a certificate, and the line for known_hosts."""
    key = keys.generate_ssh_key()
    line = keys.public_line(keys.public_blob(key.public_key()))
    body = {"user": "bench", "logins": [login], "ttl": 7200, "public_ssh_key": line}
    signed = running_auth.call("POST", "/v1/ca/user/certs", body)
    _write(folder / "client", {"": keys.ssh_private_pem(key), "-cert.pub": f"{signed['cert']}\n", ".pub": f"{line}\n"})
    host = PublicAuthority.from_json(running_auth.call("GET", "/v1/authorities/host"))
    _write(folder / "client", {".known": "".join(f"{line}\n" for line in host.host_lines(["*"]))})
    return Person(login, folder / "client")


def _host_files(stage: Stage, name: str) -> Path:
    """A host key with its certificate, and the authority of users in ``NAME.user-ca``."""
    key = keys.generate_ssh_key()
    line = keys.public_line(keys.public_blob(key.public_key()))
    signed = stage.auth.call("POST", "/v1/ca/host/certs", {"principals": [name], "public_ssh_key": line})
    files = {"": keys.ssh_private_pem(key), "-cert.pub": f"{signed['cert']}\n", ".pub": f"{line}\n"}
    user = PublicAuthority.from_json(stage.auth.call("GET", "/v1/authorities/user"))
    files[".user-ca"] = "\n".join(keys.public_line(blob) for blob in user.ssh_keys) + "\n"
    return _write(stage.folder / name, files)


@contextmanager
def _sshd(stage: Stage, name: str, further: Mapping[str, str]) -> Iterator[Running]:
    program = shutil.which("sshd", path=os.pathsep.join((os.environ.get("PATH", ""), SSHD_PATH)))
    if program is None:
        raise Broken("sshd is missing: apt-get install openssh-server")
    port, files = free_port(), _host_files(stage, name)
    options: dict[str, object] = {
        "ListenAddress": LOOPBACK,
        "Port": port,
        "PidFile": "none",
        "HostKey": files,
        "HostCertificate": f"{files}-cert.pub",
        "TrustedUserCAKeys": f"{files}.user-ca",
        "AuthorizedKeysFile": "none",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
        "StrictModes": "no",
        "AcceptEnv": "SHLVL",
        "Subsystem": "sftp /usr/lib/openssh/sftp-server",
        "MaxStartups": "1000",
        "MaxSessions": "100",
        **further,
    }
    text = "".join(f"{key} {value}\n" for key, value in options.items())
    _write(files, {".config": text})
    log = files.with_suffix(".log")
    with running([program, "-D", "-e", "-f", f"{files}.config"], log) as running_sshd:
        wait_for_port(port, log)
        yield Running(port, running_sshd.pid)


def _configuration(person: Person, servers: Mapping[str, Running]) -> str:
    """One configuration for all servers."""
    named = [(name, name, each.port) for name, each in servers.items()]
    named += [(DIRECT, NODE, servers[NODE].port)] if NODE in servers else []
    hosts = "".join(f"Host {name}\n  Port {port}\n  HostKeyAlias {alias}\n" for name, alias, port in named)
    dialled = f"Host {DIRECT} {PROXY} {WORKERS} {JUMP} {TARGET}\n  HostName {LOOPBACK}\n"
    common = (
        f"Host *\n  User {person.login}\n  IdentityFile {person.key}\n  CertificateFile {person.certificate}\n"
        f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {person.known_hosts}\n"
        "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n  ControlPath none\n"
        "  SetEnv SHLVL=2\n"
    )
    return hosts + dialled + common


def _write(path: Path, texts: Mapping[str, str]) -> Path:
    """Files whose names begin alike, for our eyes only."""
    for ending, text in texts.items():
        file = path.with_name(path.name + ending)
        file.write_text(text)
        file.chmod(0o600)
    return path
