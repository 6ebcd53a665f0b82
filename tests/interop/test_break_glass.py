"""The drill of docs/break-glass.rst: auth, proxy and every certificate are gone, and somebody gets in."""

from __future__ import annotations

from pathlib import Path

from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.programs import Done, environment, eventually, run
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, write_private

PASSPHRASE = "the drill of the interop tests"


class DrillTests(InteropTests):
    """A cluster of its own, since most of it is lost."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.addCleanup(self.cluster.stop)
        self.cluster.auth.start()
        self.node = self.cluster.node("web1", settings={"break_glass_after": "5s"}).start()
        self.cluster.becomes(self.node, "online")

    def seal(self, name: str = "ops", addresses: str = LOCALHOST) -> Path:
        """Makes a key, as the page says."""
        key, secret = self.cluster.folder / f"{name}-emergency", self.cluster.folder / "passphrase"
        write_private(secret, PASSPHRASE)
        self.cluster.tctl(
            *("break-glass", f"--name={name}", f"--logins={LOGIN}", f"--from={addresses}"),
            *(f"--passphrase-file={secret}", str(key)),
        )
        return key

    def ssh(self, key: Path, command: str) -> Done:
        """A direct connection to the node with a sealed key, whose passphrase somebody types."""
        asking = self.cluster.folder / "askpass"
        asking.write_text(f"#!/bin/sh\necho '{PASSPHRASE}'\n")
        asking.chmod(0o700)
        return run(
            *(require("ssh", "openssh-client"), "-F", "none", "-p", str(self.node.port), "-i", str(key)),
            *("-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={key}.known_hosts"),
            *("-o", "StrictHostKeyChecking=yes", f"{LOGIN}@{LOCALHOST}", command),
            env=environment(SSH_ASKPASS=str(asking), SSH_ASKPASS_REQUIRE="force"),
        )

    def gets_in(self, key: Path, command: str = "true") -> Done:
        """Waits until auth has been silent for long enough."""

        def tries() -> Done | None:
            done = self.ssh(key, command)
            return done if done.code == 0 else None

        done = eventually(tries, "the sealed key is taken")
        assert done is not None
        return done

    def test_drill(self) -> None:
        """It is refused while auth is there, taken when it is gone, also by a node that restarts, and told of later."""
        key = self.seal()
        self.assertNotEqual(self.ssh(key, "true").code, 0)
        self.cluster.event("auth", lambda event: "emergency certificate" in str(event.get("error")), "of the refusal")
        self.cluster.auth.kill()
        self.assertEqual(self.gets_in(key, "echo saved").text, "saved\n")
        self.node.kill()
        self.node.start()
        self.assertEqual(self.gets_in(key, "echo saved again").text, "saved again\n")
        self.cluster.auth.start()
        self.cluster.event("auth", self.is_emergency, "of the emergency")
        self.cluster.event("exec", lambda event: event["command"] == "echo saved again", "of what was done")
        eventually(lambda: self.ssh(key, "true").code != 0, "the node follows auth again, and takes no such key")

    def is_emergency(self, event: dict[str, object]) -> bool:
        return (event["user"], event.get("method"), event["code"]) == ("break-glass:ops", "break-glass", "T3007I")

    def test_keys_that_stay_out(self) -> None:
        """One that was locked while auth was there, and one that is for other addresses, open nothing."""
        good, lost, elsewhere = self.seal(), self.seal("lost"), self.seal("elsewhere", "192.0.2.0/24")
        self.cluster.tctl("lock", "--user=break-glass:lost", "--message=the envelope was opened")
        self.cluster.auth.kill()
        self.gets_in(good)
        self.assertNotEqual(self.ssh(lost, "true").code, 0)
        self.assertNotEqual(self.ssh(elsewhere, "true").code, 0)
        self.cluster.auth.start()
        for why in ("the envelope was opened", "may not be used from the address 127.0.0.1"):
            self.cluster.event("auth", lambda event, why=why: why in str(event.get("error")), why)  # type: ignore[misc]  # bound at once

    def test_files(self) -> None:
        """Three files, of which nobody else can read any."""
        key = self.seal()
        for end in ("", "-cert.pub", ".known_hosts"):
            self.assertEqual(Path(f"{key}{end}").stat().st_mode & 0o077, 0)
