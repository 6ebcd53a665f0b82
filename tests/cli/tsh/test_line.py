"""The command line of tsh: what is understood, which node is meant, and what OpenSSH is given."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh import destination, here, openssh, scp, words
from teleport_conch.cli.tsh.line import tsh_parser
from teleport_conch.cli.tsh.main import parse
from teleport_conch.cli.tsh.places import ProxyAddress, parse_proxy
from teleport_conch.errors import BadParameter, NotFound
from tests.cli.test_tctl_line import leaves
from tests.cli.tsh.logins import PROXY, login, profile, saved
from tests.client.certificates import CLUSTER


class LineTests(SynchronousTestCase):
    def test_every_command_exists(self) -> None:
        """What the command line names can be run."""
        runs = {parser.get_default("run") for _, parser in leaves(tsh_parser({}))}
        for run in runs:
            self.assertTrue(callable(namedAny(f"teleport_conch.cli.tsh.{run}")), run)

    def test_environment(self) -> None:
        """Variables stand for flags, and flags win."""
        environment = {"TELEPORT_PROXY": "p:3080", "TELEPORT_USER": "bob", "TELEPORT_LOGIN": "root"}
        found = tsh_parser(environment).parse_args(["ls", "--user=alice"])
        self.assertEqual((found.proxy, found.user, found.login), ("p:3080", "alice", "root"))

    def test_no_command(self) -> None:
        self.patch(sys, "stderr", io.StringIO())
        ended = self.assertRaises(SystemExit, parse, [])
        self.assertEqual(ended.code, 2)

    def test_command_words_are_not_flags_of_ours(self) -> None:
        found = parse(["ssh", "web1", "ls", "-l", "--", "-x"])
        self.assertEqual(found.command, ["ls", "-l", "--", "-x"])
        self.assertEqual(found.login, "")


class ProxyAddressTests(SynchronousTestCase):
    def test_forms(self) -> None:
        for text, expected in (
            ("proxy", ProxyAddress("proxy")),
            ("proxy:443", ProxyAddress("proxy", 443)),
            ("proxy:443,22", ProxyAddress("proxy", 443, 22)),
            ("proxy:,22", ProxyAddress("proxy", 0, 22)),
            ("https://Proxy.Example.com:443/", ProxyAddress("proxy.example.com", 443)),
            ("[::1]:3080", ProxyAddress("::1", 3080)),
        ):
            self.assertEqual(parse_proxy(text), expected)

    def test_refused(self) -> None:
        for text in ("", "a b", "proxy:x", "proxy:99999", "[::1", "proxy:1,2,3", "-oProxyCommand=id", "a/b"):
            self.assertRaises(BadParameter, parse_proxy, text)

    def test_addresses(self) -> None:
        """What was typed wins over what the proxy told, and that over the usual ports."""
        self.assertEqual(parse_proxy("p").web, "p:3080")
        self.assertEqual(parse_proxy("p").ssh("", "0.0.0.0:1022"), "p:1022")
        self.assertEqual(parse_proxy("p").ssh("", ""), "p:3023")
        self.assertEqual(parse_proxy("p").ssh("ssh.p:22", "0.0.0.0:1022"), "ssh.p:22")
        self.assertEqual(parse_proxy("p:,5").ssh("ssh.p:22", "0.0.0.0:1022"), "p:5")


class DestinationTests(SynchronousTestCase):
    def test_forms(self) -> None:
        found = destination.parse("root@web1")
        self.assertEqual((found.login, found.host), ("root", "web1"))
        self.assertEqual(found.in_cluster(CLUSTER), f"web1.{CLUSTER}")
        self.assertEqual(destination.parse(f"web1.{CLUSTER}").in_cluster(CLUSTER), f"web1.{CLUSTER}")
        self.assertEqual(destination.parse("root@env=prod,role=db").labels, {"env": "prod", "role": "db"})
        self.assertEqual(destination.parse("web1:2022", with_port=True).port, 2022)
        self.assertEqual(destination.parse("u@[::1]:22", with_port=True).host, "::1")

    def test_port(self) -> None:
        """``host:port`` leads to the flag."""
        problem = self.assertRaises(BadParameter, destination.parse, "web1:22")
        self.assertEqual(problem.sentence, "'web1:22': give the port with --port.")

    def test_T112_options_in_names(self) -> None:
        """Neither a host nor an account is taken for an option, or for a word of a shell."""
        for text in ("-oProxyCommand=id", "-l", "--", "root@-x", "-x@web1", "a b", "x;id", "$(id)", "a@b@c d", "@web1"):
            self.assertRaises(BadParameter, destination.parse, text)
        self.assertRaises(BadParameter, destination.Destination("", "web1").account, "-x")


class WordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.login = login()
        self.home = saved(Path(self.mktemp()).absolute(), self.login)
        self.patch(openssh, "find", lambda name: f"/bin/{name}")
        self.config = str(self.home.ssh_config(profile()))

    def words(self, *line: str) -> list[str]:
        arguments = parse(["ssh", *line])
        return words.openssh_words(self.home, self.login, arguments, "root", "web1.example.com")

    def test_ssh(self) -> None:
        start = ["ssh", "-F", self.config, "-l", "root"]
        self.assertEqual(self.words("web1"), [*start, "--", "web1.example.com"])
        self.assertEqual(
            self.words(
                "-A", "-t", "-t", "-N", "-p", "22", "-L", "1:a:2", "-R", "3:b:4", "-D", "5", "-o", "X=y", "web1"
            ),
            [
                *(*start, "-p", "22", "-A", "-N", "-t", "-t", "-L", "1:a:2", "-R", "3:b:4", "-D", "5", "-o", "X=y"),
                *("--", "web1.example.com"),
            ],
        )

    def test_escapes(self) -> None:
        """Without them ``~`` is a letter, whatever an option says that comes later."""
        words = self.words("--no-enable-escape-sequences", "-o", "EscapeChar=^", "web1")
        self.assertEqual(words[5:9], ["-o", "EscapeChar=none", "-o", "EscapeChar=^"])

    def test_command(self) -> None:
        """A command is passed on word by word; one ``--`` before it is tsh's."""
        self.assertEqual(self.words("web1", "ls", "-l")[-3:], ["web1.example.com", "ls", "-l"])
        self.assertEqual(self.words("web1", "--", "-x")[-3:], ["--", "web1.example.com", "-x"])

    def test_jump(self) -> None:
        """The proxy is reached by another name, its key is looked for by its own, and a host is no list."""
        inner = f"ssh -F {self.config} -o HostName=jump -o Port=22 -o HostKeyAlias={PROXY} -o User=me -W [%h]:%p"
        self.assertEqual(
            self.words("-J", "me@jump:22", "web1")[3:5], ["-o", f"ProxyCommand=/bin/{inner} teleport-proxy"]
        )
        self.assertIn("-o Port=3023 ", self.words("-J", "jump", "web1")[4])
        for text, sentence in (
            ("a,b", "Name one jump host: it takes the place of the proxy, and behind that stands the node."),
            ("env=prod", "'env=prod' is not a host: write --jumphost=[USER@]HOST[:PORT]."),
            ("-oProxyCommand=id", "'-oProxyCommand=id' is not a host: write --jumphost=[USER@]HOST[:PORT]."),
            ("a b", "'a b' is not the name of a node, and not label=value."),
        ):
            problem = self.assertRaises(BadParameter, self.words, f"--jumphost={text}", "web1")
            self.assertEqual(problem.sentence, sentence)

    def test_local(self) -> None:
        """A command of this computer is not for the node; without one that there is, there is a sentence."""
        self.assertEqual(self.words("--local", "web1", "sh", "-c", "x")[-2:], ["--", "web1.example.com"])
        here.check(parse(["ssh", "--local", "web1", "sh", "-c", "x"]))
        problem = self.assertRaises(BadParameter, here.check, parse(["ssh", "--local", "web1"]))
        self.assertEqual(problem.sentence, "--local runs a COMMAND on this computer: give one, and leave -N out.")
        missing = self.assertRaises(NotFound, here.check, parse(["ssh", "--local", "web1", "sh -c x"]))
        self.assertEqual(
            missing.sentence, "There is no program 'sh -c x' here. No shell reads it; for that, write: sh -c '...'"
        )

    def test_scp(self) -> None:
        arguments = parse(["scp", "-r", "-p", "-P", "22", "-l", "root", "a:b", "./a:b", "web1:/tmp/x"])
        found = [scp.parse_place(each) for each in arguments.paths]
        self.assertEqual(
            scp.words_for(self.home, self.login, arguments, found),
            [
                *("scp", "-F", self.config, "-r", "-p", "-P", "22", "--"),
                *(f"root@a.{CLUSTER}:b", "./a:b", f"root@web1.{CLUSTER}:/tmp/x"),
            ],
        )

    def test_scp_of_a_name_with_a_hyphen(self) -> None:
        arguments = parse(["scp", "--", "-x", "root@web1:"])
        found = [scp.parse_place(each) for each in arguments.paths]
        words = scp.words_for(self.home, self.login, arguments, found)
        self.assertEqual(words[-2:], ["./-x", f"root@web1.{CLUSTER}:"])

    def test_scp_between_here_and_here(self) -> None:
        problem = self.assertRaises(BadParameter, scp.scp, parse(["scp", "a", "b"]))
        self.assertEqual(problem.sentence, "Both ends are on this computer: name a node as [LOGIN@]NODE:PATH.")

    def test_proxy_is_the_profiles(self) -> None:
        self.assertIn(PROXY, self.config)
