"""Several machines on one: each a network, a host name and files of its own, on a switch that leads nowhere else.

The kernel's namespaces make them, so that what a page of the manual tells somebody to type on ``auth.example.com`` is
typed as it stands there: with the names, the ports and the paths of the page. What a machine writes below :data:`OWN`
lies in a folder of the test.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from tests.interop.programs import Done, check, environment, eventually, run
from tests.interop.requirements import lack, require
from tests.interop.services import temporary_folder, with_us

DOMAIN = "example.com"
NETWORK = "10.42.0"
OWN = ("/etc", "/var/lib", "/var/log", "/home", "/root", "/srv", "/opt")
"""Folders that each machine has for itself; what is there on the real one can be read."""

_REAL = (".bashrc", ".bash_profile", ".profile", ".ssh", ".tsh", ".gitconfig", ".ansible")
"""What the person at the real machine has at home, and no machine here."""

_KEEPER = 'mount --make-rprivate / && hostname "$0" && ip link set lo up && echo up && exec sleep infinity'


@define(eq=False)
class Machine:
    """One machine, as long as its keeper lives.

    :ivar name: ``auth`` is ``auth.example.com``.
    """

    name: str
    number: int
    folder: Path
    _keeper: subprocess.Popen[bytes] = field(repr=False)

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    @property
    def full_name(self) -> str:
        return f"{self.name}.{DOMAIN}"

    def words(self, command: Sequence[str]) -> list[str]:
        """The command line that runs a command on this machine."""
        entering = ["nsenter", f"--target={self._keeper.pid}", "--net", "--mount", "--uts", f"--wdns={self.home}"]
        return [require("nsenter", "util-linux"), *entering[1:], "--", *command]

    @property
    def home(self) -> str:
        return "/root"

    def run(self, *command: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
        """Runs a command to its end."""
        return run(*self.words(command), stdin=stdin, env={**environment(HOME=self.home), **(env or {})})

    def shell(self, line: str, stdin: bytes = b"") -> Done:
        """Runs a line of a shell to its end."""
        return self.run("/bin/sh", "-c", line, stdin=stdin)

    @contextmanager
    def background(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Runs a command until the context is left; its output goes to ``<folder>/log``."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*with_us(), *self.words(command)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def log(self) -> str:
        """What its programs in the background have said."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def write(self, path: str, text: str) -> None:
        """Puts a file there, for its owner only."""
        script = 'umask 077; mkdir -p "$(dirname "$0")" && cat > "$0"'
        check(self.run("/bin/sh", "-c", script, path, stdin=text.encode()))

    def end(self) -> None:
        """Nothing of it is left but its folder."""
        self._keeper.kill()
        self._keeper.wait(30)


@define(eq=False)
class World:
    """Machines that reach each other by their names, and nobody else."""

    folder: Path = field(factory=temporary_folder)
    machines: dict[str, Machine] = field(factory=dict)
    _switch: subprocess.Popen[bytes] | None = None

    def start(self, *names: str) -> World:
        """Makes the machines and the switch between them."""
        if os.geteuid() != 0:
            lack("making machines needs root")
        require("ip", "iproute2")
        self._switch = _keeper("switch")
        _inside(self._switch, "ip", "link", "add", "switch", "type", "bridge")
        _inside(self._switch, "ip", "link", "set", "switch", "up")
        for number, name in enumerate(names, 10):
            self.machines[name] = self._machine(name, number)
        hosts = "".join(f"{each.address} {each.full_name} {each.name}\n" for each in self.machines.values())
        for machine in self.machines.values():
            machine.write("/etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{hosts}")
            check(machine.run("chmod", "644", "/etc/hosts"))
        return self

    def _machine(self, name: str, number: int) -> Machine:
        assert self._switch is not None
        machine = Machine(name, number, self.folder / name, _keeper(name))
        for place in OWN:
            upper, work = (machine.folder / kind / place.strip("/").replace("/", "-") for kind in ("files", "work"))
            upper.mkdir(parents=True)
            work.mkdir(parents=True)
            options = f"lowerdir={place},upperdir={upper},workdir={work}"
            check(run(*machine.words(("mount", "-t", "overlay", "overlay", "-o", options, place))))
        check(machine.run("rm", "-rf", *(f"/root/{of_real}" for of_real in _REAL)))
        keeper = str(machine._keeper.pid)
        cable = f"to-{name}"
        _inside(self._switch, "ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", keeper)
        _inside(self._switch, "ip", "link", "set", cable, "master", "switch", "up")
        check(machine.run("ip", "address", "add", f"{machine.address}/24", "dev", "eth0"))
        check(machine.run("ip", "link", "set", "eth0", "up"))
        check(machine.run("ip", "route", "add", "default", "dev", "eth0"))
        return machine

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def stop(self) -> None:
        """Ends all of them."""
        for machine in self.machines.values():
            machine.end()
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait(30)


def _keeper(name: str) -> subprocess.Popen[bytes]:
    """A process whose namespaces are a machine."""
    unshare = require("unshare", "util-linux")
    words = [*with_us(), unshare, "--net", "--mount", "--uts", "/bin/sh", "-c", _KEEPER, name]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    eventually(lambda: process.stdout is not None and process.stdout.readline() == b"up\n", f"{name} is there")
    return process


def _inside(keeper: subprocess.Popen[bytes], *command: str) -> Done:
    return check(run(require("nsenter", "util-linux"), f"--target={keeper.pid}", "--net", "--", *command))
