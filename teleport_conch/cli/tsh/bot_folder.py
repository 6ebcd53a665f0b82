"""What ``tsh bot`` keeps: a folder that other programs read at any moment, and always find something whole in.

==================  ====================================================================
``ssh_config``      for OpenSSH, and whatever runs it; names the files of one generation
``known_hosts``     the host authority of the cluster
``current``         a link to the folder of the newest generation
``1``, ``2``, ...   each generation's key and certificates, in the form of ``~/.tsh``
``next.key``        a key for which certificates were asked, and not heard of yet
``lock``            held by the program that renews
==================  ====================================================================

The files of a generation never change. Who has read ``ssh_config`` before the next one was there goes on with the key
and the certificates that it named, which are good for as long again; the one before is kept for that reason.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from teleport_conch.certs import keys
from teleport_conch.cli.tsh import openssh
from teleport_conch.cli.tsh.ssh_config import for_tsh
from teleport_conch.client import private_files
from teleport_conch.client.profiles import KNOWN_HOSTS, Home, Login
from teleport_conch.errors import AlreadyExists

KEPT_GENERATIONS = 3
_CURRENT = "current"
_NEXT_KEY = "next.key"
_SSH_CONFIG = "ssh_config"
FILES = (_SSH_CONFIG, KNOWN_HOSTS, _CURRENT, _NEXT_KEY)
"""What lies in the folder beside the generations."""


@frozen
class BotFolder:
    """The folder of ``--out``."""

    path: Path

    def generation(self) -> int:
        """Of the certificates that are in use; 0 before there are some."""
        with suppress(OSError, ValueError):
            return int(os.readlink(self.path / _CURRENT))
        return 0

    def login(self) -> Login | None:
        """What is in use, None before the robot has joined."""
        generation = self.generation()
        if not generation:
            return None
        home = Home(self.path / str(generation))
        return home.login(home.profile())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps others out: two that renew the same certificates look like a robot and its copy.

        :raises AlreadyExists: another program renews here.
        """
        private_files.make_folder(self.path)
        with os.fdopen(os.open(self.path / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AlreadyExists(f"Another 'tsh bot' keeps the certificates in {self.path} fresh.") from None
            yield

    def next_key(self) -> str:
        """The private key, as PEM, for which certificates are asked: the same until some have come."""
        path = self.path / _NEXT_KEY
        known = private_files.read(path)
        if known:
            return known
        made = keys.private_pem(keys.generate_tls_key())
        private_files.write(path, made)
        return made

    def keep(self, login: Login, generation: int) -> None:
        """Puts fresh certificates in use. What a reader sees first, ``ssh_config``, is written last."""
        home = Home((self.path / str(generation)).absolute())
        config = for_tsh(home, login.profile, openssh.find("ssh") or "ssh")
        home.save(login, config)
        self._point(generation)
        private_files.write(self.path / KNOWN_HOSTS, private_files.read(home.folder / KNOWN_HOSTS) or "")
        private_files.write(self.path / _SSH_CONFIG, config)
        private_files.remove(self.path / _NEXT_KEY)
        self._clear(generation)

    def _point(self, generation: int) -> None:
        scratch = self.path / f".{_CURRENT}.{os.getpid()}"
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(str(generation))
        scratch.replace(self.path / _CURRENT)
        private_files.sync(self.path)

    def _clear(self, newest: int) -> None:
        for each in self.path.iterdir():
            if each.name.isdigit() and int(each.name) <= newest - KEPT_GENERATIONS:
                shutil.rmtree(each)
