"""What the demo writes, and what it says."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.demo_plan import Plan, check_path
from teleport_conch.config.addresses import Address
from teleport_conch.config.loading import parse
from teleport_conch.errors import BadParameter

PLAN = Plan(
    typed=Path(".demo"),
    nodename="laptop",
    login="alice",
    host="127.0.0.1",
    auth_port=3025,
    proxy_port=3023,
    web_port=3080,
    node_port=3022,
    second_node=3122,
)
PROGRAMS = {"tctl": ".venv/bin/tctl", "tsh": ".venv/bin/tsh", "teleport": ".venv/bin/teleport"}


class ConfigurationTests(SynchronousTestCase):
    def test_cluster(self) -> None:
        """All three services, on loopback and nowhere else, with all state in the folder."""
        settings = parse(PLAN.configuration(), "teleport.yaml", {}, "other")
        self.assertEqual(settings.enabled(), {"auth", "proxy", "node"})
        self.assertEqual(settings.auth.listen_addr, Address("127.0.0.1", 3025))
        self.assertEqual(settings.proxy.listen_addr, Address("127.0.0.1", 3023))
        self.assertEqual(settings.node.listen_addr, Address("127.0.0.1", 3022))
        self.assertEqual((settings.teleport.nodename, settings.auth.cluster_name), ("laptop", "demo"))
        self.assertEqual(settings.teleport.data_dir, Path(".demo").absolute() / "data")
        self.assertEqual(settings.teleport.storage.path, Path(".demo").absolute() / "data" / "backend")

    def test_second_node(self) -> None:
        """A node with a name, a port and a folder of its own, which pins the authority."""
        settings = parse(PLAN.second_configuration("sha256:" + "0" * 64), "second-node.yaml", {}, "other")
        self.assertEqual(settings.enabled(), {"node"})
        self.assertEqual(settings.teleport.nodename, "laptop-2")
        self.assertEqual(settings.teleport.auth_servers, (Address("127.0.0.1", 3025),))
        self.assertEqual(settings.node.listen_addr, Address("127.0.0.1", 3122))
        self.assertNotEqual(settings.teleport.data_dir, parse(PLAN.configuration(), "", {}, "").teleport.data_dir)

    def test_names(self) -> None:
        """A host that is called like the cluster, or like the proxy's alias, works, too."""
        self.assertEqual(evolve(PLAN, nodename="demo").cluster, "demo-cluster")
        self.assertIn("Host demo-proxy\n", evolve(PLAN, nodename="proxy").ssh_config())

    def test_ipv6(self) -> None:
        """Where only ::1 exists."""
        settings = parse(evolve(PLAN, host="::1").configuration(), "", {}, "")
        self.assertEqual(settings.proxy.ssh_public_addr, (Address("::1", 3023),))
        self.assertIn("    HostName ::1\n", evolve(PLAN, host="::1").ssh_config())


class SSHConfigTests(SynchronousTestCase):
    def test_text(self) -> None:
        """Everything that ssh needs to know, so that it asks nothing and looks nowhere else."""
        folder = Path(".demo").absolute()
        self.assertEqual(
            PLAN.ssh_config(),
            "# Written by `teleport demo` at each start; changes are lost.\n"
            "Host proxy\n"
            "    HostName 127.0.0.1\n"
            "    Port 3023\n\n"
            "Host laptop *.demo\n"
            "    ProxyJump proxy\n\n"
            "Host *\n"
            "    User alice\n"
            f'    IdentityFile "{folder}/user"\n'
            f'    CertificateFile "{folder}/user-cert.pub"\n'
            "    IdentitiesOnly yes\n"
            f'    UserKnownHostsFile "{folder}/known_hosts"\n'
            "    GlobalKnownHostsFile /dev/null\n"
            "    StrictHostKeyChecking yes\n",
        )

    def test_spaces(self) -> None:
        """ssh does not quote its -F for the jump, so a path with spaces is reached by a command of ours."""
        text = evolve(PLAN, typed=Path("/srv/my demo")).ssh_config()
        self.assertIn("    ProxyCommand ssh -F '/srv/my demo/ssh_config' -W [%h]:%p proxy\n", text)
        self.assertIn('    IdentityFile "/srv/my demo/user"\n', text)

    def test_impossible_paths(self) -> None:
        """A path that an ssh_config cannot hold is refused."""
        for path in ('/a"b', "/a\\b", "/a$b", "/a%hb", "/a\nb"):
            with self.assertRaisesRegex(BadParameter, "--dir: a path with a quote, .* Choose another folder."):
                check_path(Path(path))
        check_path(Path("/srv/my demo/ü"))


class LinesTests(SynchronousTestCase):
    def test_first(self) -> None:
        """The first line to try is ssh, with the folder as it was typed; then copies, tctl, and a second node."""
        text = PLAN.lines(PROGRAMS, "noon", "5ec4e7", "sha256:00")
        tries = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        self.assertEqual(
            tries,
            [
                "ssh -F .demo/ssh_config laptop",
                "scp -F .demo/ssh_config /etc/hosts laptop:/tmp/demo-hosts",
                "sftp -F .demo/ssh_config laptop",
                "https://127.0.0.1:3080/web/invite/5ec4e7",
                ".venv/bin/tsh login --proxy=127.0.0.1:3080 --user=alice --ca-pin=sha256:00",
                ".venv/bin/tsh ls",
                ".venv/bin/tctl -c .demo/teleport.yaml nodes ls",
                ".venv/bin/tctl -c .demo/teleport.yaml events ls",
                ".venv/bin/tctl -c .demo/teleport.yaml nodes add --ttl=1h",
                ".venv/bin/teleport start -c .demo/second-node.yaml --token=TOKEN",
                "ssh -F .demo/ssh_config laptop-2.demo",
            ],
        )
        self.assertIn("The certificate of alice is good until noon", text)
        self.assertIn("Sessions with a terminal are recorded.", text)

    def test_quoted(self) -> None:
        """Lines can be copied whatever the folder is called."""
        self.assertIn(
            "ssh -F '/srv/my demo/ssh_config' laptop",
            evolve(PLAN, typed=Path("/srv/my demo")).lines(PROGRAMS, "", "", ""),
        )

    def test_known_user(self) -> None:
        """At the next starts there is no new link, but the way to one."""
        text = PLAN.lines(PROGRAMS, "noon", "", "sha256:00")
        self.assertNotIn("/web/invite/", text)
        self.assertIn("    https://127.0.0.1:3080/web\n", text)
        self.assertIn("    .venv/bin/tctl -c .demo/teleport.yaml users reset alice\n", text)
