"""The command line of tctl: what is understood, and the wording of each refusal."""

from __future__ import annotations

import io
import sys
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.commands.resources import READERS
from teleport_conch.cli.connecting import COMMANDS
from teleport_conch.cli.references import KINDS, Reference
from teleport_conch.cli.tctl import parse
from teleport_conch.cli.tctl_line import tctl_parser

SIGN = ("auth", "sign")


def leaves(parser: ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ArgumentParser]]:
    """Each command with the words that lead to it."""
    groups = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    if not groups:
        yield words, parser
    for group in groups:
        for name, child in group.choices.items():
            if not child.get_default("unbuilt"):
                yield from leaves(child, (*words, name))


class LineTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def refusal(self, *words: str) -> str:
        """What is said of a command line that ends with exit code 2."""
        ended = self.assertRaises(SystemExit, parse, words)
        self.assertEqual(ended.code, 2)
        return self.err.getvalue().rpartition("error: ")[2].strip()


class UnderstandingTests(LineTestCase):
    def test_nodes_add(self) -> None:
        """Defaults and flags are Teleport's, plus what the token binds."""
        usual = parse(["nodes", "add"])
        self.assertEqual((usual.roles, usual.ttl, usual.token, usual.format), (("node",), 1800.0, "", "text"))
        words = "nodes add --roles=node,proxy --ttl=1h30m --token=abc --name=web1 --principals=a,b --labels=env=prod"
        found = parse(words.split())
        self.assertEqual((found.roles, found.ttl, found.token), (("node", "proxy"), 5400.0, "abc"))
        self.assertEqual((found.name, found.principals, found.labels), ("web1", ("a", "b"), {"env": "prod"}))

    def test_sign(self) -> None:
        """For a person and for a host."""
        person = parse([*SIGN, "--user=alice", "--logins=root,ubuntu", "-o", "alice", "--format=tls", "--ttl=24h"])
        self.assertEqual((person.user, person.logins, person.form), ("alice", ("root", "ubuntu"), "tls"))
        self.assertEqual((person.out, person.ttl, person.overwrite), (Path("alice"), 86_400.0, False))
        host = parse(["auth", "sign", "--host=api.example.com,10.0.0.5", "--out=api", "--overwrite"])
        self.assertEqual((host.host, host.form, host.ttl), (("api.example.com", "10.0.0.5"), None, None))

    def test_global_flags_anywhere(self) -> None:
        """They count before the command and behind it."""
        for words in (
            "-c a.yaml -i me --auth-server=auth -d nodes ls",
            "nodes ls -c a.yaml -i me --auth-server auth -d",
        ):
            found = parse(words.split())
            self.assertEqual((found.config, found.identity), (Path("a.yaml"), Path("me")))
            self.assertEqual((found.auth_server, found.debug), (["auth:3025"], True))
        usual = parse(["nodes", "ls"])
        self.assertEqual((usual.config, usual.identity, usual.auth_server, usual.debug), (None, None, None, False))

    def test_several_auth_servers(self) -> None:
        """Each may be given, with or without a port."""
        found = parse(["--auth-server=a.example.com", "--auth-server=[::1]:4025", "status"])
        self.assertEqual(found.auth_server, ["a.example.com:3025", "[::1]:4025"])

    def test_references(self) -> None:
        """Kinds go by Teleport's names and shortcuts, in any case."""
        found = parse(["get", "nodes/web1,CAs,cluster-config,cluster_name,sessions"])
        self.assertEqual(
            found.resources,
            [
                Reference("node", "web1"),
                Reference("cert_authority"),
                Reference("cluster_config"),
                Reference("cluster_name"),
                Reference("session"),
            ],
        )
        self.assertEqual(parse(["get", "session/x,ssh_sessions"]).resources[1], Reference("ssh_session"))
        self.assertEqual(parse(["get", "ALL"]).resources, [Reference("all")])
        self.assertEqual(parse(["rm", "proxies/p1"]).resource, Reference("proxy", "p1"))

    def test_every_command_has_code(self) -> None:
        """What a command line names can be called, and references lead to readers."""
        runs = [parser.get_default("run") for _, parser in leaves(tctl_parser())]
        for name in (*runs, "passphrases.choose", "passphrases.ask"):
            if name is not None:
                self.assertTrue(callable(namedAny(f"{COMMANDS}.{name}")))
        self.assertEqual(set(READERS), set(KINDS))

    def test_help(self) -> None:
        """Each command has a help that says what it does, and names the flags of all commands."""
        for words, parser in leaves(tctl_parser()):
            text = parser.format_help()
            self.assertIn("usage: tctl ", text)
            self.assertIn("--auth-server", text)
            self.assertTrue(parser.description, words)

    def test_group_without_command(self) -> None:
        """A word that is not yet a command shows what there is, and is a mistake."""
        for words in ((), ("nodes",), ("auth",)):
            self.assertEqual(self.refusal(*words), "Give one of the commands.")
        self.assertIn("sign", self.err.getvalue())


class RefusalTests(LineTestCase):
    def test_wording(self) -> None:
        """Each refusal is a sentence that says what can be written."""
        sign = ("auth", "sign", "--out=x")
        for words, sentence in (
            (
                ("--insecure", "status"),
                "--insecure is refused: the auth server is always verified. Leave the flag out.",
            ),
            (
                (*sign, "--host=a", "--logins=root"),
                "A host has no logins and no roles: leave --logins and --roles out.",
            ),
            (
                (*sign, "--host=a", "--format=file"),
                "A host's certificate is for sshd: --host goes with --format=openssh, and not with file.",
            ),
            (
                (*sign, "--user=alice", "--logins=a,,b"),
                "argument --logins: 'a,,b' is not a list of names with commas between them",
            ),
            (("users", "update", "alice"), "Say what is to change: --set-roles, --set-logins or --set-traits."),
            (("rm", "node"), "Say which one to remove: tctl rm node/NAME"),
            (
                ("rm", "cas/user"),
                (
                    "A cert_authority cannot be removed; 'tctl rm' removes user, role, lock, access_request, node,"
                    " proxy, token, session."
                ),
            ),
            (
                ("get", "all", "--with-secrets"),
                (
                    "--with-secrets is refused: auth gives out no private keys, passwords and tokens. 'tctl backup"
                    " FILE' on the auth host writes all of them, encrypted."
                ),
            ),
            (("edit", "role"), "Say which one to edit: tctl edit role/NAME"),
            (
                ("edit", "node/web1"),
                (
                    "A node cannot be edited; 'tctl edit' knows user, role, lock, token, cluster_config,"
                    " cluster_auth_preference."
                ),
            ),
            (
                ("lock", "--ttl=1h"),
                "Say what to lock: --user, --login, --node or --role; several of them all have to match.",
            ),
        ):
            self.assertEqual(self.refusal(*words), sentence)

    def test_beginnings(self) -> None:
        """Mistakes in one flag name the flag."""
        for words, beginning in (
            ("nodes add --roles=node,sshd", "argument --roles: a join token is for node, proxy, auth, and not 'sshd'"),
            ("tokens add --type=trusted_cluster", "argument --type: trusted_cluster is not built yet"),
            ("tokens add", "the following arguments are required: --type"),
            ("nodes add --ttl=5", "argument --ttl: the duration '5' has no unit: write 5s, 5m or 5h"),
            ("nodes add --ttl=0s", "argument --ttl: a time to live is longer than nothing"),
            ("nodes add --labels=env", "argument --labels: the labels cannot be read from 'env' on"),
            ("nodes add --labels=up=[1m:uptime]", "argument --labels: the label 'up' is a command"),
            ("events ls --from=noon", "argument --from: 'noon' is not an instant: write it like 2026-11-22"),
            ("events ls --limit=0", "argument --limit: a search answers 1 to 10000 events, and not '0'"),
            ("rm all", "argument KIND/NAME: there are no resources of type 'all'; there are user,"),
            ("get saml", "argument KIND[/NAME][,...]: resources of type 'saml' are not built yet; there are user,"),
            ("get pods", "argument KIND[/NAME][,...]: there are no resources of type 'pods'; there are user,"),
            ("--auth-server=a:b status", "argument --auth-server: 'b' is not a port"),
            ("auth sign --out=x", "one of the arguments --user --host is required"),
            ("nodes ls --form=json", "unrecognized arguments: --form=json"),
            ("users add", "the following arguments are required: NAME"),
            ("users add a --traits=team", "argument --traits: 'team' is no trait: write name=value; logins have"),
            ("users add a --traits=logins=root", "argument --traits: 'logins=root' is no trait: write name=value"),
            ("requests approve", "the following arguments are required: ID[,ID...]"),
            ("requests create alice", "the following arguments are required: --roles"),
            ("request deny x --annotations=page", "argument --annotations: 'page' is no annotation: write name=value"),
            ("nodes rm", "one of the arguments NODE --offline is required"),
        ):
            self.err.truncate(0)
            self.assertEqual(self.refusal(*words.split())[: len(beginning)], beginning)

    def test_not_built_yet(self) -> None:
        """Commands of Teleport's that are missing are known, whatever stands behind them (and nothing else does)."""
        for words, sentence in (
            ("top http://127.0.0.1:3434 5s", "'tctl top' is not built yet: there is no diagnostics service."),
            ("-d top", "'tctl top' is not built yet: there is no diagnostics service."),
            ("auth rotate --type=user", "'tctl auth rotate' is not built yet: authorities keep their keys."),
        ):
            self.err.truncate(0)
            self.assertEqual(self.refusal(*words.split()), sentence)
            self.assertNotIn("usage", self.err.getvalue())

    def test_nothing_is_checked_twice(self) -> None:
        """What goes together is accepted."""
        self.assertIsInstance(parse(["auth", "sign", "--host=a", "--format=openssh", "--out=x"]), Namespace)
        self.assertIsInstance(parse(["rm", "token/abc"]), Namespace)
