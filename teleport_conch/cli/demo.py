"""``teleport demo``: a whole cluster in one process on loopback, ready for the ``ssh`` that is already there."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.internet.task import deferLater

from teleport_conch.certs import keys
from teleport_conch.certs.identity import openssh_files
from teleport_conch.cli import demo_ports, reach
from teleport_conch.cli.commands.export import patterns
from teleport_conch.cli.demo_plan import Plan, check_path
from teleport_conch.cli.instants import moment
from teleport_conch.cli.serving import ONE_PROCESS, serve
from teleport_conch.cli.start_options import StartOptions
from teleport_conch.client import private_files
from teleport_conch.client.api import AuthClient
from teleport_conch.client.tls import client_options
from teleport_conch.config.names import name_from_host
from teleport_conch.errors import AlreadyExists, StartError
from teleport_conch.resources.server import Server, State
from teleport_conch.resources.user import User

CERTIFICATE_S = 12 * 3600.0
#: Seconds that the node may take until it is listed as online, and between two looks.
ONLINE_WITHIN_S = 60.0
LOOK_S = 0.1


def demonstrate(typed: Path) -> None:
    """Run the demo until a signal ends it.

    :param typed: the folder for its state, as it was written on the command line.
    :raises StartError: the folder cannot be used, or another demo uses it.
    """
    check_path(typed.absolute())
    with _folder(typed):
        plan = _plan(typed)
        private_files.write(typed / "teleport.yaml", plan.configuration())
        options = StartOptions()
        options.parseOptions(["--config", str(typed / "teleport.yaml")])
        print(f"Starting the cluster {plan.cluster}, with its state in {typed} ...", flush=True)
        serve(options, partial(_introduce, plan), ONE_PROCESS)
    print("\nStopped. The next start goes on from here.")


def _plan(typed: Path) -> Plan:
    host = demo_ports.loopback()
    last = demo_ports.of_last_start(typed / "teleport.yaml", typed / "second-node.yaml")
    ports = demo_ports.choose(host, last)
    return Plan(
        typed=typed,
        nodename=name_from_host(socket.gethostname()),
        login=_account(),
        host=host,
        auth_port=ports.auth,
        proxy_port=ports.proxy,
        web_port=ports.web,
        node_port=ports.node,
        second_node=ports.second_node,
    )


def _account() -> str:
    """The account that runs this: the only one that a node which is not root can serve."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise StartError(
            f"The account with uid {os.geteuid()} has no name (no line in /etc/passwd), so that nobody can log in to"
            " it. Run the demo as another account."
        ) from None


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """The folder, made if it is missing, and held against a second demo.

    :raises StartError: it cannot be used.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another account")
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as reason:
        raise StartError(
            f"The folder {path} cannot hold the state of the demo: {reason.strerror}. Choose another one with --dir."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode("ascii"))
        yield
    except BlockingIOError:
        holder = os.read(lock, 16).decode("ascii", "replace").strip()
        raise StartError(
            f"Another demo (process {holder or '?'}) runs in {path}. Stop that one, or choose another --dir."
        ) from None
    finally:
        os.close(lock)


# Once the services are up.


async def _introduce(plan: Plan, reactor: IReactorCore) -> None:
    """Wait until the node is there, write what ssh needs, and say what to try."""
    clock = cast(IReactorTime, reactor)
    way = reach.find(plan.typed / "teleport.yaml", (), None)
    client = AuthClient(clock, way.addresses, client_options(way.identity))
    try:
        nodes = await _online(clock, client, plan)
        invite = await _invited(plan, client)  # first, as certificates from before a user was made count no more
        await _write_ssh(plan, client, nodes)
        status = await client.status()
    finally:
        await client.close()
    private_files.write(plan.typed / "second-node.yaml", plan.second_configuration(status.ca_pins[0]))
    until = moment(clock.seconds() + CERTIFICATE_S)
    print("\n" + plan.lines(_programs(), until, invite, status.ca_pins[0]), flush=True)


async def _online(clock: IReactorTime, client: AuthClient, plan: Plan) -> tuple[Server, ...]:
    for _ in range(round(ONLINE_WITHIN_S / LOOK_S)):
        nodes = await client.nodes()
        if any(node.hostname == plan.nodename and node.presence.state is State.ONLINE for node in nodes):
            return nodes
        await deferLater(clock, LOOK_S)
    log = plan.typed / "teleport.log"
    raise StartError(f"The node did not come online within {ONLINE_WITHIN_S:g} seconds. The log says why: {log}")


async def _invited(plan: Plan, client: AuthClient) -> str:
    """The secret of a link for the person at the keyboard; empty where there is a user for them already."""
    try:
        await client.people.create_user(User(plan.login, ("access",), {"logins": (plan.login,)}))
    except AlreadyExists:
        return ""
    return (await client.people.invite(plan.login)).token


async def _write_ssh(plan: Plan, client: AuthClient, nodes: tuple[Server, ...]) -> None:
    key = keys.generate_ssh_key()
    line = keys.public_line(keys.public_blob(key.public_key()))
    signed = await client.sign_user(plan.login, [plan.login], CERTIFICATE_S, line)
    files = openssh_files(keys.ssh_private_pem(key), signed.ssh_certificate)
    for suffix, text in files.items():
        private_files.write(plan.typed / f"user{suffix}", text)
    host = await client.authority("host")
    known = host.host_lines(patterns(host.cluster_name, (*await client.proxies(), *nodes)))
    private_files.write(plan.typed / "known_hosts", "".join(f"{each}\n" for each in known))
    private_files.write(plan.typed / "ssh_config", plan.ssh_config())


def _programs() -> Mapping[str, str]:
    """How the programs that were installed with this one are called here."""
    return {name: _program(name, Path(sys.argv[0])) for name in ("tctl", "tsh", "teleport")}


def _program(name: str, own: Path) -> str:
    beside = own.with_name(name)
    found = shutil.which(name)
    if not beside.exists() or (found is not None and Path(found).resolve() == beside.resolve()):
        return name
    return shlex.quote(str(beside))
