"""``tsh -i FILE``: a login of ``tctl auth sign``, for programs and computers where nobody logs in."""

from __future__ import annotations

import signal
import subprocess

from tests.interop.cluster import CLUSTER_NAME, LOGIN
from tests.interop.programs import Done, check, environment, installed, run
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, temporary_folder
from tests.interop.tsh_case import TshCase, without_openssh


class IdentityCase(TshCase):
    variables: dict[str, str] = {}

    def setUp(self) -> None:
        super().setUp()
        self.path = temporary_folder() / "ci"
        self.sign("--ttl=1h")
        self.home, self.runtime = temporary_folder() / "home", temporary_folder()
        self.proxy = f"--proxy={LOCALHOST}:{self.cluster.web_port}"

    def sign(self, *words: str) -> None:
        who = ("--user=ci", f"--logins={LOGIN}", "--roles=access", f"--out={self.path}", "--overwrite")
        self.cluster.tctl("auth", "sign", *who, "--format=file", *words)

    def environment(self) -> dict[str, str]:
        own = {"TELEPORT_HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.runtime)}
        return environment() | own | self.variables

    def tsh(self, *words: str, code: int = 0, stdin: bytes = b"") -> Done:
        done = run(installed("tsh"), f"--identity={self.path}", self.proxy, *words, stdin=stdin, env=self.environment())
        self.nothing_is_left()
        return check(done, code)

    def nothing_is_left(self) -> None:
        self.assertFalse(self.home.exists())
        self.assertEqual(list(self.runtime.iterdir()), [])


class IdentityTests(IdentityCase):
    def test_listing(self) -> None:
        self.assertEqual(self.tsh("ls", "-f", "names").text, "web1\nweb2\n")
        self.assertEqual(self.tsh("clusters", "-q").text, f"{CLUSTER_NAME} online\n")
        self.assertIn("Logged in as: ci", self.tsh("status").text)

    def test_ssh(self) -> None:
        """The proxy says where it is reached by SSH; its status is that of the program."""
        self.assertEqual(self.tsh("ssh", f"{LOGIN}@web1", "cat; exit 7", stdin=b"input", code=7).text, "input")
        self.assertEqual(self.tsh("ssh", f"{LOGIN}@env=prod", "echo one").text, "web1 | one\n")
        both = self.tsh("ssh", f"{LOGIN}@tier=web", "echo one").text.splitlines()
        self.assertEqual(sorted(both), ["web1 | one", "web2 | one"])

    def test_scp(self) -> None:
        (self.here / "file").write_text("copied")
        self.tsh("scp", str(self.here / "file"), f"{LOGIN}@web1:{self.there}/copy")
        self.assertEqual((self.there / "copy").read_text(), "copied")

    def test_proxy_ssh(self) -> None:
        """The connection begins with what an SSH server says."""
        self.assertTrue(self.tsh("proxy", "ssh", "web1").text.startswith("SSH-2.0-"))

    def test_another_cluster(self) -> None:
        """A proxy that is not one of the cluster gets nothing."""
        text = self.path.read_text()
        other = self.other_authority()
        self.path.write_text(text[: text.index("-----END CERTIFICATE-----") + 26] + self.lines(text) + other)
        self.assertIn("error: ", self.tsh("ls", code=1).complaint)

    def lines(self, text: str) -> str:
        return "".join(f"{line}\n" for line in text.splitlines() if line.startswith("@cert-authority"))

    def other_authority(self) -> str:
        from tests.client.certificates import HOST_CA

        return "".join(HOST_CA.public().tls_certificates)


class OwnClientIdentityTests(IdentityTests):
    """The same where there is no OpenSSH: no key is written anywhere."""

    def setUp(self) -> None:
        super().setUp()
        self.variables = {"PATH": without_openssh()}


class FilesTests(IdentityCase):
    def test_interrupted(self) -> None:
        """A signal ends the program, and what was written for it is gone."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            words = [installed("tsh"), "-i", str(self.path), self.proxy, "ssh", f"{LOGIN}@web1", "echo on; sleep 100"]
            with subprocess.Popen(words, env=self.environment(), stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                self.assertEqual(process.stdout.readline(), b"on\n")
                (folder,) = self.runtime.iterdir()
                self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
                process.send_signal(number)
                process.wait(60)
            self.nothing_is_left()

    def test_config(self) -> None:
        """Plain OpenSSH with the file that is printed; it goes on with a new identity file in the place of the old."""
        config = self.here / "config"
        config.write_text(self.tsh("config").text)
        words = ("-F", str(config), f"{LOGIN}@web1.{CLUSTER_NAME}", "echo there")
        for _ in range(2):
            done = check(run(require("ssh", "openssh-client"), *words, env=self.environment()))
            self.assertEqual(done.text, "there\n")
            self.sign("--ttl=2h")
        self.nothing_is_left()

    def test_open_to_others(self) -> None:
        self.path.chmod(0o644)
        said = self.tsh("ls", code=1).complaint
        self.assertIn(f"error: {self.path} holds a private key, and others than its owner can read it.", said)
