"""The arithmetic of the benchmarks, their table and their command line; the measuring itself is ``make bench``."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from random import Random

from attrs import evolve
from cryptography.hazmat.primitives.serialization import SSHCertificate as OpenSSHCertificate
from cryptography.hazmat.primitives.serialization import load_ssh_public_identity
from twisted.trial.unittest import SynchronousTestCase

from bench import access
from bench.__main__ import BENCHMARKS, chosen, main, parser
from bench.cluster import announced
from bench.figures import HEADINGS, Comparison, More, at_least, at_most, shown, table
from bench.load import Caller
from bench.signing import same_ssh
from teleport_conch.certs import keys
from teleport_conch.certs.authority import Authority
from teleport_conch.resources.joining import Heartbeat

DOCS = Path(__file__).parents[1] / "docs"


class FigureTests(SynchronousTestCase):
    def test_medians(self) -> None:
        """The ratio is that of the two medians, so that one disturbed round does not count."""
        comparison = Comparison("x", "s", at_most(0.5), ours=(0.1, 9.0, 0.2), other=(0.4, 0.4, 0.5))
        self.assertEqual(comparison.ratio, 0.5)
        self.assertTrue(comparison.met)

    def test_targets(self) -> None:
        """A bound that is just reached is met, whichever way it goes."""
        self.assertTrue(at_most(0.45).met_by(0.45))
        self.assertFalse(at_most(0.45).met_by(0.46))
        self.assertTrue(at_least(0.3).met_by(0.3))
        self.assertFalse(at_least(0.3).met_by(0.29))
        self.assertEqual([str(at_most(2.0)), str(at_least(0.3))], ["at most 2 x", "at least 0.3 x"])

    def test_more(self) -> None:
        """A target that is no ratio: so much more than the other, and no more."""
        near = Comparison("x", "s", More(0.005), ours=(0.0149, 9.0, 0.014), other=(0.01, 0.01, 0.02))
        self.assertTrue(near.met)
        self.assertEqual(near.cells()[-2:], ("at most 5.00 ms more", "yes"))
        self.assertFalse(evolve(near, ours=(0.016, 0.016, 0.016)).met)

    def test_shown(self) -> None:
        """Three digits, in a unit in which the figure is at least one."""
        for figure, unit, text in (
            (1.384, "s", "1.38 s"),
            (0.1384, "s", "138 ms"),
            (0.01384, "s", "13.8 ms"),
            (0.0007371, "s", "737 us"),
            (0.0, "s", "0.00 us"),
            (2473.4, "1/s", "2,473/s"),
            (0.5, "1/s", "0.50/s"),
        ):
            self.assertEqual(shown(figure, unit), text)

    def test_cells(self) -> None:
        """A row says both medians, the ratio, how far it varied from round to round, and whether that will do."""
        missed = Comparison("logins", "s", at_most(0.45), ours=(0.2, 0.1, 0.3), other=(0.4, 0.4, 0.4))
        self.assertEqual(
            missed.cells(), ("logins", "200 ms", "400 ms", "0.50 x", "0.25 to 0.75", "at most 0.45 x", "NO")
        )

    def test_table(self) -> None:
        """Columns are as wide as their widest cell, and a rule of Sphinx's stands above, below and under the heads."""
        rows = table([Comparison("beats", "1/s", at_least(0.3), ours=(600.0,), other=(1000.0,))]).splitlines()
        self.assertEqual(rows[0], rows[2])
        self.assertEqual(rows[0], rows[-1])
        self.assertEqual(rows[1].split(), " ".join(HEADINGS).split())
        self.assertEqual(" ".join(rows[3].split()), "beats 600/s 1,000/s 0.60 x 0.60 to 0.60 at least 0.3 x yes")
        self.assertEqual(rows[1].index("ratio"), rows[3].index("0.60 x"))


class CommandTests(SynchronousTestCase):
    def test_default(self) -> None:
        """Without arguments everything is measured, as often as each needs."""
        options = parser().parse_args([])
        self.assertEqual((options.names, options.rounds), ([], None))
        self.assertEqual(list(chosen([])), list(BENCHMARKS))

    def test_chosen(self) -> None:
        """Those that were named, in the order of the table."""
        options = parser().parse_args(["listing", "login", "--rounds", "3"])
        self.assertEqual((list(chosen(options.names)), options.rounds), (["login", "listing"], 3))

    def test_unknown(self) -> None:
        """A name that is none is refused with those that there are, before anything is started."""
        said = io.StringIO()
        with redirect_stderr(said):
            self.assertEqual(main(["logins"]), 2)
        self.assertEqual(
            said.getvalue(),
            f"error: there is no benchmark 'logins'; there are {', '.join(BENCHMARKS)}\n",
        )

    def test_rounds(self) -> None:
        """A number of rounds is from 1 to 1000."""
        for text in ("0", "1001", "many"):
            said = io.StringIO()
            with redirect_stderr(said):
                self.assertRaises(SystemExit, parser().parse_args, ["--rounds", text])
            self.assertIn(f"argument --rounds: invalid rounds value: '{text}'", said.getvalue())


class WorkTests(SynchronousTestCase):
    """What is measured is the thing itself."""

    def test_request(self) -> None:
        """A caller's request is a whole one, with its length."""
        request = Caller(Path("x"), "/v1/ping", b"{}").request()
        head, _, body = request.partition(b"\r\n\r\n")
        self.assertEqual(head.splitlines()[0], b"POST /v1/ping HTTP/1.1")
        self.assertIn(b"Content-Length: 2", head.splitlines())
        self.assertEqual(body, b"{}")

    def test_heartbeat(self) -> None:
        """The beat that is sent is one that auth reads."""
        beat = Heartbeat("bench-1", announced("11111111-2222-4333-8444-555555555555", "web1", 70000))
        self.assertEqual(Heartbeat.from_json(beat.to_json()), beat)
        self.assertEqual(beat.server.addr, "10.1.17.112:3022")

    def test_same_certificate(self) -> None:
        """The loop signs what the API signs: all fields but nonce, authority and signature are the same."""
        authority = Authority.generate("user", "bench.example", 1e9, lambda count: b"\7" * count)
        blob = keys.public_blob(keys.generate_ssh_key().public_key())
        line = authority.sign_user_ssh(
            blob, name="alice", logins=["root"], roles=["access"], traits={"logins": ["root"]}, ttl_s=60.0, now=1e9
        ).to_line()
        ours, theirs = (load_ssh_public_identity(each) for each in (line.encode(), same_ssh(line)()))
        assert isinstance(ours, OpenSSHCertificate) and isinstance(theirs, OpenSSHCertificate)
        theirs.verify_cert_signature()
        for name in ("serial", "type", "key_id", "valid_principals", "valid_after", "valid_before", "extensions"):
            self.assertEqual(getattr(ours, name), getattr(theirs, name))


class DocumentationTests(SynchronousTestCase):
    def test_every_row_is_documented(self) -> None:
        """The page says of each benchmark, by the name on the command line, how it is measured."""
        page = (DOCS / "performance.rst").read_text(encoding="utf-8")
        self.assertEqual([name for name in BENCHMARKS if f"\n{name}\n" not in page], [])


class AccessTests(SynchronousTestCase):
    def test_decisions(self) -> None:
        """What is measured is refused, with a word from each of 20 roles; nodes have 20 labels."""
        nodes = list(access.targets(Random(1)))[:10]
        self.assertEqual({len(node.labels) for node in nodes}, {access.LABELS})
        traces = list(access.traces(access.person(), nodes))
        access.check(traces)
        self.assertEqual(len(traces), 10 * len(access.LOGINS))

    def test_plan(self) -> None:
        """Everybody has the role that is changed, and nine of the 49 others."""
        state = access.state(Random(1))
        self.assertEqual((len(state.roles), len(state.people)), (access.PLAN_ROLES, access.PLAN_USERS))
        self.assertEqual({len(set(person.roles)) for person in state.people.values()}, {access.ROLES_OF_USER})
        self.assertTrue(all("role00" in person.roles for person in state.people.values()))
