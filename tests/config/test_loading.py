"""Tests for :mod:`teleport_conch.config.loading`."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.document import MAX_BYTES
from teleport_conch.config.loading import load, load_encoded, parse
from teleport_conch.config.settings import Settings
from teleport_conch.errors import ConfigError, UnsafePath

TOKEN = "0123456789abcdef0123456789abcdef"


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "teleport.yaml"

    def write(self, text: str, mode: int = 0o600) -> Path:
        self.path.write_text(text)
        self.path.chmod(mode)
        return self.path

    def load(self, path: Path | None = None, **overrides: object) -> Settings:
        return load(path, {key.replace("__", "."): value for key, value in overrides.items()}, self.folder / "default")

    def refused(self, path: Path) -> str:
        return str(self.assertRaises(ConfigError, self.load, path).sentence)

    def test_missing(self) -> None:
        """A file that was asked for has to be there."""
        self.assertEqual(self.refused(self.path), f"file not found: {self.path}")

    def test_not_a_file(self) -> None:
        """Why a file cannot be read is said."""
        self.assertEqual(self.refused(self.folder), f"{self.folder} cannot be read: Is a directory.")

    def test_no_file(self) -> None:
        """Without -c, and without the default file, every key has its default."""
        self.assertEqual(self.load().teleport.data_dir, Path("/var/lib/teleport"))

    def test_default_file(self) -> None:
        """Without -c, the default file is read where it exists, with the same care."""
        default = self.folder / "default"
        default.write_text("teleport: {data_dir: /srv/t}")
        self.assertEqual(self.load().teleport.data_dir, Path("/srv/t"))
        default.write_text("teleport: {dta_dir: /srv/t}")
        self.assertEqual(
            self.assertRaises(ConfigError, self.load).sentence,
            f"{default}:1: unrecognized configuration key: 'dta_dir' (did you mean 'data_dir'?)",
        )

    def test_size(self) -> None:
        """No more than the bound is read."""
        sentence = f"{self.path}:1: the configuration is larger than {MAX_BYTES} bytes"
        self.assertEqual(self.refused(self.write("#" * (MAX_BYTES + 1))), sentence)

    def test_not_utf8(self) -> None:
        """Bytes that are no UTF-8 are refused with their line; a byte order mark is not."""
        self.path.write_bytes(b"a: b\nc: \xff\n")
        start = "failed to parse Teleport configuration"
        self.assertEqual(self.refused(self.path), f"{self.path}:2: {start}: this is not UTF-8")
        self.path.write_bytes(b"\xef\xbb\xbfteleport: {nodename: db1}")
        self.assertEqual(self.load(self.path).teleport.nodename, "db1")

    def test_pipe(self) -> None:
        """A configuration may come through a pipe."""
        os.mkfifo(self.path, 0o600)
        writer = threading.Thread(target=self.path.write_text, args=("teleport: {nodename: db1}",))
        writer.start()
        self.addCleanup(writer.join)
        self.assertEqual(self.load(self.path).teleport.nodename, "db1")


class OverrideTests(SynchronousTestCase):
    def parse(self, text: str, **overrides: object) -> Settings:
        return parse(text, "f", {key.replace("__", "."): value for key, value in overrides.items()}, "web1")

    def test_over_file(self) -> None:
        """What is given as a flag wins over the file; None is not given."""
        text = "teleport: {nodename: db1, auth_servers: [a, b], data_dir: /srv/t}"
        settings = self.parse(text, teleport__nodename="db2", teleport__auth_servers=["c:1"], teleport__data_dir=None)
        self.assertEqual(settings.teleport.nodename, "db2")
        self.assertEqual([str(address) for address in settings.teleport.auth_servers], ["c:1"])
        self.assertEqual(settings.teleport.data_dir, Path("/srv/t"))

    def test_storage_follows_data_dir(self) -> None:
        """A flag that moves data_dir moves the storage in it, unless the file says where that is."""
        self.assertEqual(self.parse("", teleport__data_dir="/x").teleport.storage.path, Path("/x/backend"))
        text = "teleport: {storage: {path: /y}}"
        self.assertEqual(self.parse(text, teleport__data_dir="/x").teleport.storage.path, Path("/y"))

    def test_mistake(self) -> None:
        """A mistake in a flag says that it is one, beside those of the file."""
        error = self.assertRaises(ConfigError, self.parse, "teleport: {x: 1}", teleport__ca_pin="x")
        form = "a CA pin is 'sha256:' and 64 hexadecimal digits, as 'tctl status' shows it"
        self.assertEqual(
            error.sentence.splitlines(),
            [
                f"command line: teleport.ca_pin: {form}",
                "f:1: unrecognized configuration key: 'x'",
            ],
        )

    def test_host_name(self) -> None:
        """Nodename and cluster name come from the host, made valid."""
        settings = parse("", "f", {}, "Ada's Laptop.local.")
        self.assertEqual(settings.teleport.nodename, "ada-s-laptop.local")
        self.assertEqual(settings.auth.cluster_name, "ada-s-laptop.local")


class PermissionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.token = Path(self.mktemp()).absolute()

    def load(self, text: str, mode: int, **overrides: object) -> Settings:
        self.path.write_text(text)
        self.path.chmod(mode)
        return load(self.path, {key.replace("__", "."): value for key, value in overrides.items()})

    def test_with_token(self) -> None:
        """A file with a token in it that others can read or change is refused, with the command that mends it."""
        for text in (
            f"teleport: {{auth_token: {TOKEN}}}",
            f"auth_service: {{tokens: ['node:{TOKEN}']}}",
            f"auth_service: {{tokens: 'node:{TOKEN}'}}",
        ):
            self.load(text, 0o600)
            for mode in (0o640, 0o604, 0o620):
                error = self.assertRaises(UnsafePath, self.load, text, mode)
                self.assertEqual(
                    error.sentence,
                    f"{self.path} holds a token, and others than its owner can read or change it (mode {mode:04o})."
                    f" Run: chmod 600 {self.path}",
                )

    def test_token_under_a_flag(self) -> None:
        """The token is in the file, whether a flag wins over it or not."""
        text = f"teleport: {{auth_token: {TOKEN}}}"
        self.assertRaises(UnsafePath, self.load, text, 0o644, teleport__auth_token="/other")

    def test_without_token(self) -> None:
        """A file without a token may be read by all, and changed by nobody else."""
        self.load("teleport: {auth_token: /etc/token}", 0o644)
        error = self.assertRaises(UnsafePath, self.load, "", 0o646)
        self.assertEqual(error.sentence, f"Everybody can change {self.path}. Run: chmod o-w {self.path}")

    def test_token_file(self) -> None:
        """A token's file is looked at while it is there; once the host has joined, it may be gone."""
        for text in (f"teleport: {{auth_token: {self.token}}}", f"auth_service: {{tokens: ['node:{self.token}']}}"):
            self.load(text, 0o644)
            self.token.write_text(TOKEN)
            self.token.chmod(0o644)
            error = self.assertRaises(UnsafePath, self.load, text, 0o644)
            self.assertIn(f"Run: chmod 600 {self.token}", error.sentence)
            self.token.chmod(0o600)
            self.load(text, 0o644)
            self.token.unlink()


class EncodedTests(SynchronousTestCase):
    def test_encoded(self) -> None:
        """A whole configuration in base64."""
        encoded = base64.b64encode(b"teleport: {nodename: db1}").decode()
        self.assertEqual(load_encoded(encoded, "--config-string", {}).teleport.nodename, "db1")

    def test_refused(self) -> None:
        """What is no base64 is not shown; what is wrong in it has its line."""
        for text in ("teleport: {}", "####", base64.b64encode(b"\xff").decode()):
            error = self.assertRaises(ConfigError, load_encoded, text, "--config-string", {})
            self.assertEqual(error.sentence, "--config-string is not a configuration in base64.")
        encoded = base64.b64encode(b"\nteleport: {nodenam: db1}").decode()
        error = self.assertRaises(ConfigError, load_encoded, encoded, "TELEPORT_CONFIG", {})
        self.assertIn("TELEPORT_CONFIG:2: unrecognized configuration key", error.sentence)
