"""Services that do not start: a sentence, exit code 1, no traceback, and nothing lost."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path

import yaml

from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN, Cluster
from tests.interop.programs import Done, check, installed, run
from tests.interop.services import LOCALHOST, Service, end, free_port, temporary_folder, write_private
from tests.interop.shared import healthy

#: ``twist`` exits with it where options cannot be used, and a configuration is one.
TWIST_USAGE = 64


class StartTests(InteropTests):
    """Programs of ours that end at once."""

    def setUp(self) -> None:
        self.folder = temporary_folder()

    def start(self, config: object, *flags: str, program: str = "twist", mode: int = 0o600) -> Done:
        """What becomes of a service with this configuration."""
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        path = write_private(self.folder / "teleport.yaml", text)
        path.chmod(mode)
        words = {"twist": ("teleport",), "teleport": ("start",)}[program]
        return run(installed(program), *words, "-c", str(path), *flags)

    def config(self) -> dict[str, dict[str, object]]:
        """An auth service alone."""
        return {
            "teleport": {"data_dir": str(self.folder / "data")},
            "auth_service": {"listen_addr": f"{LOCALHOST}:{free_port()}", "cluster_name": "interop.example"},
            "proxy_service": {"enabled": False},
            "ssh_service": {"enabled": False},
        }

    def assert_refused(self, done: Done, *sentences: str) -> None:
        self.assertIn(done.code, (1, TWIST_USAGE), done)
        for sentence in sentences:
            self.assertIn(sentence, done.complaint)
        self.assertNotIn("Traceback", done.text + done.complaint)


class ConfigurationTests(StartTests):
    """Files that are wrong."""

    WRONG = """\
teleport:
  nodenam: web1
  data_dir: relative
ssh_service:
  listen_addr: 127.0.0.1
  labels: {env: prod}
auth_service:
  session_recording: proxy
"""

    def test_all_mistakes_at_once(self) -> None:
        """Each with file, line, and what would be right; by either program."""
        for program in ("twist", "teleport"):
            done = self.start(self.WRONG, program=program)
            path = self.folder / "teleport.yaml"
            self.assert_refused(
                done,
                f"{path}:2: unrecognized configuration key: 'nodenam' (did you mean 'nodename'?)",
                f"{path}:3: ",
                f"{path}:8: 'auth_service.session_recording: proxy' is not built yet",
            )

    def test_no_file(self) -> None:
        """A file that was named and is not there."""
        for program in (("twist", "teleport"), ("teleport", "start")):
            done = run(installed(program[0]), *program[1:], "-c", str(self.folder / "missing.yaml"))
            self.assert_refused(done, str(self.folder / "missing.yaml"))

    def test_file_with_a_token_that_others_can_read(self) -> None:
        config = self.config()
        config["teleport"]["auth_token"] = "a-secret-that-all-can-read"
        done = self.start(config, mode=0o644)
        self.assert_refused(done, "chmod")
        self.assertNotIn("a-secret-that-all-can-read", done.text + done.complaint)

    def test_nothing_to_start(self) -> None:
        off = {"enabled": False}
        done = self.start({"auth_service": off, "proxy_service": off, "ssh_service": off})
        self.assert_refused(done, "There is nothing to start")


class SurroundingsTests(StartTests):
    """Files that are right, on a machine that is not."""

    def test_port_in_use(self) -> None:
        """Which one, and by whom."""
        config = self.config()
        with socket.create_server((LOCALHOST, 0)) as server:
            port = server.getsockname()[1]
            config["auth_service"]["listen_addr"] = f"{LOCALHOST}:{port}"
            for program in ("twist", "teleport"):
                done = self.start(config, program=program)
                self.assert_refused(done, f"Auth cannot listen on port {port}", f"(pid {os.getpid()})", "listen_addr")

    def test_port_of_a_node_in_use(self) -> None:
        """A node finds out when it has joined, and ends then."""
        node = healthy().node("portless")
        self.addCleanup(end, node)
        with socket.create_server((LOCALHOST, node.port)):
            self.assertEqual(node.launch().ended(), 1)
        self.assertIn(f"The node cannot listen on port {node.port}", node.log)
        self.assertNotIn("Traceback", node.log)

    def test_data_dir_that_others_can_write(self) -> None:
        data_dir = self.folder / "data"
        data_dir.mkdir()
        data_dir.chmod(0o777)
        self.assert_refused(self.start(self.config()), f"chmod go-w {data_dir}")

    def test_data_dir_that_is_a_file(self) -> None:
        (self.folder / "data").write_text("")
        self.assert_refused(self.start(self.config()), "is a file, and a folder is needed")

    def test_data_dir_in_use(self) -> None:
        """By another auth service, which goes on."""
        cluster = healthy()
        config = self.config()
        config["teleport"]["data_dir"] = str(cluster.auth.data_dir)
        self.assert_refused(self.start(config), str(cluster.auth.data_dir))
        self.assertEqual(cluster.state("web1"), "online")


class DatabaseTests(StartTests):
    """A database that auth should not touch."""

    def founded(self) -> Path:
        """The database of an auth service that has run once."""
        config = self.config()
        port = int(str(config["auth_service"]["listen_addr"]).rpartition(":")[2])
        once = Service("once", "teleport", self.folder, config, port)
        once.start().stop()
        return self.folder / "data" / "backend" / "sqlite.db"

    def test_corrupt(self) -> None:
        """It is left as it is, and the way out is named."""
        database = self.founded()
        for name in database.parent.glob("sqlite.db-*"):
            name.unlink()
        damaged = b"This is no database any more. " * 1000
        database.write_bytes(damaged)
        self.assert_refused(self.start(self.config()), f"The database {database} is damaged", "tctl restore")
        self.assertEqual(database.read_bytes(), damaged)

    def test_half_of_it_missing(self) -> None:
        database = self.founded()
        with database.open("r+b") as file:
            file.truncate(database.stat().st_size // 2)
        self.assert_refused(self.start(self.config()), f"The database {database} is damaged")

    def test_newer(self) -> None:
        """What a later version wrote is left to it."""
        database = self.founded()
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE meta SET value = 1000000 WHERE name IN ('schema_version', 'oldest_reader')")
        connection.close()
        self.assert_refused(self.start(self.config()), "newer")


class SampleTests(StartTests):
    """``teleport configure``."""

    def test_sample_starts(self) -> None:
        """Its output is a cluster of one machine, once the ports are free ones."""
        text = check(run(installed("teleport"), "configure")).text
        cluster = Cluster()  # for its folder and ports, and for the person
        data_dir, node_port = cluster.folder / "data", free_port()
        ports = {"3025": cluster.auth_port, "3023": cluster.proxy_port, "3022": node_port}
        text = text.replace("/var/lib/teleport", str(data_dir)).replace("0.0.0.0", LOCALHOST)
        for standard, port in ports.items():
            text = text.replace(f":{standard}", f":{port}")
        service = cluster.auth
        service.plugin, service.settings, service.port = "teleport", yaml.safe_load(text), cluster.proxy_port
        service.settings["teleport"]["data_dir"] = str(service.data_dir)
        self.addCleanup(end, service)
        service.start()
        name = str(service.settings["teleport"]["nodename"])
        cluster.becomes(name, "online")
        self.assertNotIn("Sessions are NOT recorded", service.log)
        self.assertIn("Sessions are recorded: node", cluster.tctl("status").text)
        person = cluster.person("alice", [LOGIN])
        config = person.jump_config.read_text()  # the sample names no address of the proxy, so that it goes by its name
        person.jump_config.write_text(config.replace("Host proxy\n", f"Host proxy\n    HostKeyAlias {name}\n"))
        done = person.ssh(name, "echo in")
        self.assertEqual((done.text, done.complaint), ("in\n", ""))
