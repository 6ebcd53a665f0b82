"""A backup that is made beside the running service, and the cluster that goes on from it on another host."""

from __future__ import annotations

import shutil
from pathlib import Path

from teleport_conch.certs import keys
from tests.interop.case import InteropTests
from tests.interop.certificates import authority_key
from tests.interop.cluster import Cluster
from tests.interop.services import write_private

PASSPHRASE = "a passphrase that nobody guesses"


class BackupTests(InteropTests):
    """A cluster of its own, whose auth host is lost."""

    def setUp(self) -> None:
        self.cluster = Cluster().start("web1")
        self.addCleanup(self.cluster.stop)
        self.file = self.cluster.folder / "cluster.backup"
        self.secret = f"--passphrase-file={write_private(self.cluster.folder / 'passphrase', PASSPHRASE)}"

    def lose_auth(self) -> Path:
        """Auth is gone; what is configured next has an empty disk."""
        self.cluster.auth.kill()
        lost = self.cluster.auth.data_dir
        self.cluster.auth.folder = self.cluster.folder / "auth-on-another-host"
        self.cluster.auth.settings["teleport"]["data_dir"] = str(self.cluster.auth.data_dir)
        self.cluster.auth.write()
        shutil.rmtree(lost)
        return self.cluster.auth.data_dir

    def test_restored(self) -> None:
        """Existing nodes, certificates, lines of ``known_hosts``, tokens and pins go on working."""
        cluster = self.cluster
        person, pin = cluster.person("alice"), cluster.pin()
        token = str(cluster.ask("nodes", "add", "--ttl=1h")[0])
        private = keys.ssh_private_pem(keys.load_private_pem(authority_key(cluster).read_text())).encode()
        cluster.tctl("backup", self.secret, str(self.file))
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        content = self.file.read_bytes()
        for secret in (private.splitlines()[1], b"authorities/user", PASSPHRASE.encode(), token.encode()):
            self.assertNotIn(secret, content)
        self.lose_auth()
        cluster.tctl("restore", self.secret, str(self.file))
        cluster.auth.start()
        cluster.becomes("web1", "online")
        self.assertEqual(cluster.pin(), pin)
        done = person.ssh("web1", "echo in")
        self.assertEqual((done.text, done.complaint), ("in\n", ""))
        newcomer = cluster.node("newcomer", token=token, teleport={"ca_pin": pin}).start()
        cluster.becomes(newcomer, "online")
        self.assertEqual(cluster.person("bob").ssh("web1", "echo in").text, "in\n")
        for host in (cluster.nodes["web1"], cluster.proxy):
            host.restart()
        self.assertEqual(person.ssh("web1", "echo again").text, "again\n")
        cluster.becomes("web1", "online")

    def test_refused(self) -> None:
        """A wrong passphrase, an altered file, a folder that is not empty: each is a sentence, and changes nothing."""
        cluster = self.cluster
        cluster.tctl("backup", self.secret, str(self.file))
        running = cluster.tctl("restore", self.secret, str(self.file), code=1)
        self.assertIn(str(cluster.auth.data_dir), running.complaint)
        self.assertEqual(cluster.state("web1"), "online")
        data_dir = self.lose_auth()
        other = f"--passphrase-file={write_private(cluster.folder / 'other', 'another passphrase')}"
        wrong = cluster.tctl("restore", other, str(self.file), code=1)
        self.assertIn("passphrase", wrong.complaint)
        altered = bytearray(self.file.read_bytes())
        altered[len(altered) // 2] ^= 1
        (cluster.folder / "altered").write_bytes(altered)
        (cluster.folder / "altered").chmod(0o600)
        cluster.tctl("restore", self.secret, str(cluster.folder / "altered"), code=1)
        self.assertFalse((data_dir / "backend").exists())
        again = cluster.tctl("backup", self.secret, str(self.file), code=1)
        self.assertNotIn("Traceback", again.complaint)
