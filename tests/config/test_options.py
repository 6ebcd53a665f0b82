"""Tests for :mod:`teleport_conch.config.options`."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.addresses import Address
from teleport_conch.config.options import TeleportOptions
from teleport_conch.config.secret import Secret
from teleport_conch.config.settings import CommandLabel

TOKEN = "0123456789abcdef0123456789abcdef"


class NodeOptions(TeleportOptions):
    services = frozenset({"node"})


class OptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.write("teleport: {nodename: db1, auth_servers: [a.example.com]}\n")

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def parsed(self, *arguments: str, options: type[TeleportOptions] = TeleportOptions) -> TeleportOptions:
        given = options()
        given.parseOptions(["-c", str(self.path), *arguments])
        return given

    def refused(self, *arguments: str, options: type[TeleportOptions] = TeleportOptions) -> str:
        return str(self.assertRaises(UsageError, self.parsed, *arguments, options=options))

    def test_file(self) -> None:
        """The file is read by the options, before anything starts."""
        for flag in ("-c", "--config"):
            options = TeleportOptions()
            options.parseOptions([flag, str(self.path)])
            self.assertEqual(options.settings.teleport.nodename, "db1")
            self.assertEqual(options.settings.enabled(), {"auth", "proxy", "node"})

    def test_missing_file(self) -> None:
        """A file that is not there is an error of usage, with Teleport's words."""
        error = self.assertRaises(UsageError, TeleportOptions().parseOptions, ["-c", "/nonexistent/teleport.yaml"])
        self.assertEqual(str(error), "file not found: /nonexistent/teleport.yaml")

    def test_mistakes(self) -> None:
        """All mistakes of the file and of the flags are in the error."""
        self.write("teleport: {nodenam: x}\nssh: {}\n")
        nobody = "nobody can connect to 0.0.0.0: write the address under which others reach this host"
        self.assertEqual(
            self.refused("--advertise-ip", "0.0.0.0").splitlines(),
            [
                f"command line: teleport.advertise_ip: {nobody}",
                f"{self.path}:1: unrecognized configuration key: 'nodenam' (did you mean 'nodename'?)",
                f"{self.path}:2: unrecognized configuration key: 'ssh'",
            ],
        )

    def test_unsafe_file(self) -> None:
        """A token in a file that others can read is an error of usage as well."""
        self.write(f"teleport: {{auth_token: {TOKEN}}}\n")
        self.path.chmod(0o644)
        self.assertIn(f"Run: chmod 600 {self.path}", self.refused())

    def test_flags(self) -> None:
        """Each flag wins over its key."""
        settings = self.parsed(
            *("--token", TOKEN, "--ca-pin", "sha256:" + "ab" * 32, "--nodename", "db2", "--advertise-ip", "10.0.0.5"),
            *("--auth-server", "b.example.com", "--auth-server", "[::1]:1", "--pid-file", "/run/t.pid"),
            *("--labels", 'env=prod,up=[1m:"uptime -p"]', "-d"),
        ).settings
        self.assertEqual(settings.teleport.auth_token, Secret(TOKEN))
        self.assertEqual(settings.teleport.ca_pin, "sha256:" + "ab" * 32)
        self.assertEqual(settings.teleport.nodename, "db2")
        self.assertEqual(settings.teleport.advertise_ip, Address("10.0.0.5", 0))
        self.assertEqual(settings.teleport.auth_servers, (Address("b.example.com", 3025), Address("::1", 1)))
        self.assertEqual(settings.teleport.pid_file, Path("/run/t.pid"))
        self.assertEqual((settings.teleport.log.severity, settings.teleport.log.output), ("debug", "stderr"))
        self.assertEqual(settings.node.labels, {"env": "prod"})
        self.assertEqual(settings.node.commands, (CommandLabel("up", ("uptime", "-p"), 60.0, 10.0),))

    def test_labels_replace(self) -> None:
        """Labels of the command line take the place of all labels of the file."""
        self.write("ssh_service: {labels: {a: b}, commands: [{name: c, command: [x]}]}\n")
        node = self.parsed("--labels", "c=d").settings.node
        self.assertEqual((node.labels, node.commands), ({"c": "d"}, ()))
        self.assertIn("--labels: the labels cannot be read from 'x' on", self.refused("--labels", "x"))

    def test_workers(self) -> None:
        """Node and proxy may be several processes, auth is one."""
        self.assertEqual(self.parsed("--roles=node,proxy", "--workers=4").settings.teleport.workers, 4)
        self.assertEqual(self.parsed().settings.teleport.workers, 1)
        self.assertEqual(
            self.refused("--workers", "2"),
            "teleport.workers has to be 1 where auth is enabled: one process at a time writes the state of the "
            "cluster. Start node and proxy by themselves (--roles=node,proxy), with a data_dir of their own.",
        )
        self.assertIn("'9' is not a whole number from 1 to 8", self.refused("--roles=node", "--workers=9"))

    def test_listen_ip(self) -> None:
        """One address for every service, in either form of the flag."""
        for flag in ("-l", "--listen-ip"):
            settings = self.parsed(flag, "::1").settings
            self.assertEqual(settings.node.listen_addr, Address("::1", 3022))
            self.assertEqual(settings.auth.listen_addr, Address("::1", 3025))
        self.assertEqual(self.refused("-l", "localhost"), "--listen-ip: 'localhost' is not an IP address.")

    def test_not_built(self) -> None:
        """Flags that ask for what is not built stop the start, each with its sentence."""
        cases = {
            "--insecure-no-tls": "the proxy serves its web port by TLS only",
            "--fips": "the algorithms that are offered cannot be chosen",
            "--diag-addr=127.0.0.1:3000": "there is no diagnostics service",
            "--bootstrap=state.yaml": "the configuration makes no resources",
        }
        for flag, lacks in cases.items():
            name = flag.partition("=")[0]
            self.assertEqual(self.refused(flag), f"{name} is not built yet: {lacks}. Leave the flag out.")
        sentence = "--insecure is refused: every TLS connection is verified. Leave the flag out."
        self.assertEqual(self.refused("--insecure"), sentence)
        self.assertIn(
            "command line: 'ssh_service.permit_user_env: yes' is not built yet: ", self.refused("--permit-user-env")
        )

    def test_roles(self) -> None:
        """Roles turn services on and off, whatever the file says."""
        self.write("ssh_service: {enabled: no}\n")
        self.assertEqual(self.parsed().settings.enabled(), {"auth", "proxy"})
        self.assertEqual(self.parsed("--roles=node").settings.enabled(), {"node"})
        self.assertEqual(self.parsed("-r", "Auth, proxy").settings.enabled(), {"auth", "proxy"})
        self.assertEqual(self.refused("-r", "db"), "--roles: this starts auth, node, proxy, and nothing else.")

    def test_one_service(self) -> None:
        """A plugin starts its own service only, and what the others ask for does not stop it."""
        self.write("proxy_service: {kubernetes: {enabled: yes}}\nauth_service: {session_recording: proxy}\n")
        self.assertEqual(self.parsed(options=NodeOptions).settings.enabled(), {"node"})
        self.assertEqual(
            self.refused("--roles=auth", options=NodeOptions), "--roles: this starts node, and nothing else."
        )

    def test_nothing_to_start(self) -> None:
        """A file that turns off what was to be started is named as the reason."""
        self.write("ssh_service: {enabled: no}\n")
        self.assertEqual(
            self.refused(options=NodeOptions),
            "There is nothing to start: the configuration says 'enabled: no' in ssh_service.",
        )

    def test_config_string(self) -> None:
        """A whole configuration in base64, as a flag or in the environment; the flags win."""
        encoded = base64.b64encode(b"teleport: {nodename: db3}").decode()
        options = TeleportOptions()
        options.parseOptions(["--config-string", encoded])
        self.assertEqual(options.settings.teleport.nodename, "db3")
        self.assertEqual(self.refused("--config-string", encoded), "Give --config or --config-string, not both.")

    def test_environment(self) -> None:
        """TELEPORT_CONFIG counts where no file is named."""
        encoded = base64.b64encode(b"teleport: {nodename: db3}").decode()
        self.patch(os, "environ", {"TELEPORT_CONFIG": encoded})
        options = TeleportOptions()
        options.parseOptions([])
        self.assertEqual(options.settings.teleport.nodename, "db3")
        self.assertEqual(self.parsed().settings.teleport.nodename, "db1")

    def test_help(self) -> None:
        """Every flag is explained in the help."""
        text = str(TeleportOptions())
        for flag in ("--config=", "--auth-server=", "--labels=", "--listen-ip=", "--debug", "--roles="):
            self.assertIn(flag, text)
