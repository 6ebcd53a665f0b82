"""Our services as processes of their own: started as a person would start them, watched, and ended whatever happens."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import yaml
from attrs import define, field

from tests.interop.failing import Failed, witnesses
from tests.interop.programs import DEADLINE_S, environment, eventually, installed

LOCALHOST = "127.0.0.1"
#: Below the ports from which the kernel takes those of outgoing connections.
_PORTS = range(20_000, 32_000)
#: What a service exits with when it was told to stop: ``twist`` ends by the signal that it got.
STOPPED = (0, -signal.SIGTERM)
_LOG_TAIL_LINES = 40

#: Hold the UDP ports of the same numbers, by which other processes that run tests know what is taken.
_reservations: list[socket.socket] = []
_folders: list[Path] = []
#: Every service whose process runs.
running: list[Service] = []


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, and that is given to nobody else, in this process or another."""
    while True:
        port = random.choice(_PORTS)
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind((LOCALHOST, port))
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        if not answers(port):
            return port


def answers(port: int, host: str = LOCALHOST) -> bool:
    """Whether somebody listens there."""
    with suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False


@define(eq=False)
class Service:
    """One process of ours.

    :ivar plugin: what ``twist`` starts: ``teleport-node``, say.
    :ivar folder: holds its configuration, its log, and its ``data_dir``.
    :ivar settings: the configuration, written out at each start.
    :ivar port: answers when the service is ready.
    :ivar line: a line for a shell that starts it, in place of ``twist``; its configuration is given behind that.
    """

    name: str
    plugin: str
    folder: Path
    settings: dict[str, dict[str, object]]
    port: int
    line: str = ""
    env: Mapping[str, str] = field(factory=dict)
    process: subprocess.Popen[bytes] | None = None
    shown: int = 0

    @property
    def config(self) -> Path:
        return self.folder / "teleport.yaml"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log_path(self) -> Path:
        return self.folder / "log.txt"

    @property
    def log(self) -> str:
        """Everything that it has logged, of all its lives."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    @property
    def host_uuid(self) -> str:
        return (self.data_dir / "host_uuid").read_text().strip()

    def write(self) -> None:
        """The configuration, readable by its owner only, as a token may be in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings.setdefault("teleport", {}).setdefault("data_dir", str(self.data_dir))
        self.config.touch(mode=0o600)
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))

    def command(self) -> list[str]:
        if self.line:
            return ["/bin/sh", "-c", f"exec {self.line} -c {self.config}"]
        return [installed("twist"), "--log-format=text", self.plugin, "-c", str(self.config)]

    def launch(self) -> Service:
        """Starts the process, and does not wait for it. It dies with the tests, however these end."""
        assert self.process is None, f"{self.name} runs already"
        self.write()
        words = [*with_us(), *self.command()]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment(**self.env),
                start_new_session=True,
            )
        running.append(self)
        return self

    def ready(self) -> Service:
        """Waits until its port answers."""

        def up() -> bool:
            code = self.process.poll() if self.process else 0
            if code is not None:
                raise Failed(f"{self.name} ended with {code} where it should have started:\n{self.log}")
            return answers(self.port)

        eventually(up, f"{self.name} answers on port {self.port}")
        return self

    def start(self) -> Service:
        return self.launch().ready()

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Asks the process to end, and answers its exit code."""
        process = self._gone()
        process.send_signal(with_signal)
        try:
            return process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f"{self.name} did not stop within {DEADLINE_S:.0f} s:\n{self.log}") from None

    def kill(self) -> None:
        """As a cut of power would end it."""
        process = self._gone()
        process.kill()
        process.wait()

    def ended(self, deadline_s: float = DEADLINE_S) -> int:
        """Waits until the process has ended by itself, and answers its exit code."""
        assert self.process is not None, f"{self.name} was not started"
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} was expected to end, and goes on:\n{self.log}") from None
        self._gone()
        return code

    def restart(self) -> Service:
        self.stop()
        return self.start()

    def says(self, *parts: str, since: int = 0) -> None:
        """Waits until all of these are in its log (from this character on)."""
        eventually(lambda: all(part in self.log[since:] for part in parts), f"{self.name} logs {parts}")

    def _gone(self) -> subprocess.Popen[bytes]:
        process, self.process = self.process, None
        assert process is not None, f"{self.name} does not run"
        running.remove(self)
        return process


def with_us() -> list[str]:
    """A process started so is killed by the kernel when the tests are."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def end(*services: Service) -> None:
    """Ends what still runs of these, at once."""
    for service in services:
        if service.process is not None:
            service.kill()


def begin_test() -> None:
    """From now on :func:`tails` shows what is logged after this moment."""
    for service in running:
        service.shown = len(service.log)


def tails() -> str:
    """What every service that runs has logged since the test began, the last lines of it."""
    parts = []
    for service in running:
        lines = service.log[service.shown :].splitlines()[-_LOG_TAIL_LINES:]
        parts.append(f"-- log of {service.name} --\n" + "\n".join(lines))
    return "\n".join(parts)


def temporary_folder() -> Path:
    """A folder that is removed when the tests have ended; not the current one, as paths of sockets are short."""
    folder = Path(tempfile.mkdtemp(prefix="teleport-conch-"))
    _folders.append(folder)
    return folder


def _end_all() -> None:
    end(*list(running))
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)


atexit.register(_end_all)
witnesses.append(tails)


def write_private(path: Path, text: str) -> Path:
    """A file that only its owner can read from its first moment on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path
