"""Somebody at a keyboard, with OpenSSH and nothing else: a key, a certificate, ``known_hosts`` and ``ssh_config``."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE

from attrs import define

from tests.interop.programs import DEADLINE_S, Done, environment, run
from tests.interop.requirements import require

LOCALHOST = "127.0.0.1"


@define
class Person:
    """:ivar login: as whom they log in where nothing else is said."""

    folder: Path
    key: Path
    login: str
    proxy_port: int

    @property
    def certificate(self) -> Path:
        return self.key.with_name(f"{self.key.name}-cert.pub")

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def config(self) -> Path:
        """Knows the host ``proxy``, and nothing of how to come to others."""
        return self.folder / "ssh_config"

    @property
    def jump_config(self) -> Path:
        """Comes to every other host by ProxyJump."""
        return self.folder / "ssh_config_jump"

    @property
    def command_config(self) -> Path:
        """Comes to every other host by a ProxyCommand with the subsystem ``proxy:``."""
        return self.folder / "ssh_config_command"

    def write_config(self) -> None:
        ssh = require("ssh", "openssh-client")
        self.config.write_text(self._common())
        self.jump_config.write_text(f"Host * !proxy\n    ProxyJump proxy\n{self._common()}")
        command = f"{ssh} -F {self.config} -s proxy proxy:%h:%p"
        self.command_config.write_text(f"Host * !proxy\n    ProxyCommand {command}\n{self._common()}")

    def _common(self) -> str:
        return f"""\
Host proxy
    HostName {LOCALHOST}
    Port {self.proxy_port}
    User anybody
Host *
    User {self.login}
    IdentityFile {self.key}
    CertificateFile {self.certificate}
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {self.known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    PreferredAuthentications publickey
    ConnectTimeout 30
"""

    def ssh(self, *words: str, config: Path | None = None, stdin: bytes = b"", timeout_s: float = DEADLINE_S) -> Done:
        """``ssh`` with these words; without ``config`` by ProxyJump."""
        ssh = require("ssh", "openssh-client")
        return run(ssh, "-F", str(config or self.jump_config), *words, stdin=stdin, timeout_s=timeout_s)

    def shell_command(self, config: Path | None = None) -> str:
        """``ssh`` as rsync and git start it."""
        return shlex.join(["ssh", "-F", str(config or self.jump_config)])

    def environment(self, config: Path | None = None) -> dict[str, str]:
        """Variables by which git finds its way."""
        return environment(GIT_SSH_COMMAND=self.shell_command(config), GIT_CONFIG_GLOBAL=os.devnull)


@contextmanager
def background(*words: str, stdin: int = DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """An ``ssh`` that runs beside the test, with pipes for what it says, and is killed in the end."""
    ssh = require("ssh", "openssh-client")
    with subprocess.Popen([ssh, *words], stdin=stdin, stdout=PIPE, stderr=PIPE, env=environment()) as process:
        try:
            yield process
        finally:
            process.kill()
