"""The page ``docs/first-machines.rst``: its files and commands, in their order, on one machine that stands for four."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import yaml
from attrs import frozen

from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN
from tests.interop.person import LOCALHOST
from tests.interop.programs import Done, check, environment, eventually, run
from tests.interop.services import Service, end, free_port, temporary_folder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "first-machines.rst"

_BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n(?:   :caption: (.*)\n)?\n((?:   .*\n|\n)+)", re.MULTILINE)
_COMMAND = re.compile(r"(auth|proxy|web1|laptop)[#$] (.*)")


@frozen
class Step:
    """A command of the page, or a file (``command`` is empty then)."""

    machine: str
    command: str
    text: str = ""


def steps() -> Iterator[Step]:
    """What the page says, from top to bottom."""
    for kind, caption, indented in _BLOCK.findall(PAGE.read_text("utf-8")):
        text = re.sub(r"^   ", "", indented, flags=re.MULTILINE)
        if kind != "console":
            yield Step(caption.rpartition(" ")[2], "", text)
            continue
        for line in text.strip().splitlines():
            found = _COMMAND.fullmatch(line)
            assert found is not None, line
            yield Step(found[1], found[2])


class FirstMachinesTests(InteropTests):
    """Every machine is a folder here, and every address one of loopback."""

    def setUp(self) -> None:
        self.folder = temporary_folder()
        self.ports = {machine: free_port() for machine in ("auth", "proxy", "pages", "web1")}
        self.machines: dict[str, Service] = {}
        self.said = ""  # by the command that made the last token
        self.pin = ""

    def test_page(self) -> None:
        """Every command succeeds, and what it says is what the page promises."""
        done = {step.command: self.take(step) for step in steps()}
        (nodes,) = (each.text for command, each in done.items() if command == "tctl nodes ls" and each)
        self.assertRegex(nodes, r"(?m)^web1 .* env=prod +online ")
        (uname,) = (each for command, each in done.items() if "uname" in command and each)
        self.assertEqual((uname.text, uname.complaint), (check(run("uname", "-n")).text, ""))
        self.assertEqual((self.folder / "hosts").read_bytes(), Path("/etc/hosts").read_bytes())
        (events,) = (each.text for command, each in done.items() if "events" in command and each)
        self.assertIn("session.start", events)

    def take(self, step: Step) -> Done | None:
        """Writes a file, starts a service, or runs a command to its end."""
        if not step.command:
            self.write(step)
            return None
        if step.command.startswith("teleport start"):
            self.start(step)
            return None
        return self.type(step)

    def here(self, text: str) -> str:
        """A text of the page, with the addresses of this machine."""
        for name, machine in (("auth.example.com:3025", "auth"), ("ssh.example.com:3023", "proxy")):
            text = text.replace(name, f"{LOCALHOST}:{self.ports[machine]}")
        for port, machine in (("3025", "auth"), ("3023", "proxy"), ("3080", "pages"), ("3022", "web1")):
            text = text.replace(f"0.0.0.0:{port}", f"{LOCALHOST}:{self.ports[machine]}")
        return text

    def write(self, step: Step) -> None:
        if step.machine == "laptop":
            self.write_ssh_config(step.text)
            return
        folder = self.folder / step.machine
        settings = yaml.safe_load(self.here(step.text))
        settings["teleport"].update(data_dir=str(folder / "data"), advertise_ip=LOCALHOST)
        service = Service(step.machine, "teleport", folder, settings, self.ports[step.machine])
        self.addCleanup(end, service)
        self.machines[step.machine] = service
        service.write()

    def write_ssh_config(self, text: str) -> None:
        """The proxy has the address of this machine; no file of the person who runs the tests is read."""
        text = text.replace("Port 3023", f"Port {self.ports['proxy']}\n    HostName {LOCALHOST}")
        text = text.replace("~/.ssh/example", str(self.folder)).replace("User root", f"User {LOGIN}")
        (self.folder / "ssh_config").write_text(f"{text}Host *\n    GlobalKnownHostsFile /dev/null\n")

    def start(self, step: Step) -> None:
        service = self.machines[step.machine]
        if service.process is not None:
            service.stop(signal.SIGINT)
        token = re.search(r"--token=(\S+)", self.said)
        line = step.command.replace("TOKEN", token[1] if token else "").replace("PIN", self.pin)
        if "TOKEN" in step.command:
            flags = [word for word in shlex.split(self.here(line)) if word.startswith("--")]
            for flag in flags:
                self.assertIn(flag, self.said, "the page's line is the one that was printed")
        service.line = self.here(line)
        service.start()

    def type(self, step: Step) -> Done:
        """A command that ends, with the configuration and the folder of this test."""
        if step.command.startswith("tctl nodes ls"):
            self.online()
        if step.command.startswith("tctl events"):
            eventually(lambda: "session.start" in self.shell(step).text, "the session is in the log of events")
        done = check(self.shell(step))
        if " add " in step.command:
            self.said = done.text
        if step.command == "tctl status":
            found = re.search(r"sha256:[0-9a-f]{64}", done.text)
            assert found is not None, done
            self.pin = found[0]
        return done

    def online(self) -> None:
        listing = Step("auth", "tctl nodes ls --format=json")
        eventually(lambda: '"online"' in self.shell(listing).text, "the node is online")

    def shell(self, step: Step) -> Done:
        words = step.command.split(" ", 1)
        program = {
            "tctl": f"tctl -c {self.machines['auth'].config}",
            "ssh": f"ssh -F {self.folder}/ssh_config",
            "scp": f"scp -F {self.folder}/ssh_config",
        }[words[0]]
        line = f"{program} {words[1]}".replace("--logins=root", f"--logins={LOGIN}")
        line = line.replace("/tmp/hosts-of-the-laptop", f"{self.folder}/hosts")
        return run("/bin/sh", "-c", line, cwd=self.folder, env=environment())
