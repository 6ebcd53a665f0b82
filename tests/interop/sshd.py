"""OpenSSH's server with the authorities of a cluster, to see what it makes of the same login."""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
from pathlib import Path

from attrs import define

from tests.interop.cluster import Cluster
from tests.interop.person import Person
from tests.interop.programs import DEADLINE_S, Done, check, environment, eventually, run
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, answers, free_port


@define
class Sshd:
    """A server on a port of loopback, which ends with this process at the latest."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, cluster: Cluster, name: str, *options: str) -> Sshd:
        """With a host key of its own, and the users' authorities of the cluster."""
        program = require("sshd", "openssh-server")
        folder, port = cluster.folder / name, free_port()
        folder.mkdir()
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        check(run(require("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")))
        public = (folder / "host.pub").read_text()
        (folder / "known").write_text(f"[{LOCALHOST}]:{port} {public}")
        exported = cluster.tctl("auth", "export", "--type=user").text
        keys = re.findall(r"ssh-ed25519 [A-Za-z0-9+/=]+", exported)
        (folder / "authorities").write_text("".join(f"{key}\n" for key in keys))
        lines = (
            f"ListenAddress {LOCALHOST}",
            f"Port {port}",
            "PidFile none",
            f"HostKey {folder / 'host'}",
            f"TrustedUserCAKeys {folder / 'authorities'}",
            "AuthorizedKeysFile none",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "AcceptEnv LANG LC_* COLORTERM GIT_PROTOCOL",
            *options,
        )
        (folder / "config").write_text("".join(f"{line}\n" for line in lines))
        with (folder / "log").open("wb") as log:
            words = [program, "-D", "-e", "-f", str(folder / "config")]
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
        server = cls(folder, port, process)
        atexit.register(server.stop)
        eventually(lambda: answers(port), "sshd answers")
        return server

    def words(self, person: Person, login: str) -> list[str]:
        """What ``ssh`` is given to come here as ``login``."""
        key = ("-i", str(person.key), "-o", f"CertificateFile={person.certificate}", "-o", "IdentitiesOnly=yes")
        trust = ("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={self.folder / 'known'}")
        return ["-F", "none", *key, *trust, "-o", "IdentityAgent=none", "-p", str(self.port), f"{login}@{LOCALHOST}"]

    def ssh(self, person: Person, login: str, *words: str, stdin: bytes = b"") -> Done:
        ssh = require("ssh", "openssh-client")
        return run(ssh, *self.words(person, login), *words, stdin=stdin, timeout_s=DEADLINE_S)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
