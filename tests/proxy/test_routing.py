"""Which node a name means: Teleport's order, people's spelling, and what they hear when it means none or several."""

from __future__ import annotations

from random import Random

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AmbiguousName, BadParameter, NotFound, TeleportError
from teleport_conch.proxy.routing import (
    MAX_CANDIDATES_SHOWN,
    MAX_TARGET_CHARS,
    UNSPECIFIED_PORTS,
    Wanted,
    choose,
    normalized,
    parse_subsystem,
    split_address,
)
from teleport_conch.resources.server import CommandLabel, Presence, Server, State

CLUSTER = "demo.example"


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def node(number: int, hostname: str, state: State = State.ONLINE, addr: str = "", **labels: str) -> Server:
    """A node at 10.0.0.<number>, if no other address is given."""
    return Server(
        kind="node",
        name=uuid(number),
        hostname=hostname,
        addr=addr or f"10.0.0.{number}:3022",
        labels=labels,
        presence=Presence(state),
    )


WEB1 = node(1, "web1", env="prod", tier="web")
WEB2 = node(2, "web2", env="test", tier="web")
DB1 = node(3, "db1.internal", addr="[2001:db8::3]:2222")
ALIAS = evolve(node(4, "mail"), public_addrs=("mail.example.org:2022", "198.51.100.4"))
NODES = (WEB1, WEB2, DB1, ALIAS)


def chosen(host: str, port: int = 0, cluster: str = "", nodes: tuple[Server, ...] = NODES) -> Server:
    return choose(Wanted(host, port, cluster), nodes, CLUSTER)


class ChosenTests(SynchronousTestCase):
    def assert_chosen(self, expected: Server, host: str, *ports: int, nodes: tuple[Server, ...] = NODES) -> None:
        for port in ports or (0,):
            self.assertEqual(chosen(host, port, nodes=nodes).name, expected.name, (host, port))

    def test_nodename(self) -> None:
        for each in NODES:
            self.assert_chosen(each, each.hostname)

    def test_spelling(self) -> None:
        """Case, a dot at the end and the cluster's name behind it make no difference."""
        for host in ("WEB1", "Web1", "web1.", "web1.demo.example", "web1.DEMO.example", "WEB1.Demo.Example."):
            self.assert_chosen(WEB1, host)
        for host in ("DB1.internal", "db1.internal.", "db1.internal.demo.example"):
            self.assert_chosen(DB1, host)

    def test_spelling_of_the_node(self) -> None:
        """Nor do they where the node itself is called so."""
        for hostname in ("WEB9", "web9.demo.example", "Web9.Demo.Example"):
            for host in ("web9", "web9.demo.example", "WEB9."):
                self.assert_chosen(each := node(9, hostname), host, nodes=(*NODES, each))

    def test_uuid(self) -> None:
        """A UUID is a node's whatever the port is, and whatever it is doing."""
        self.assert_chosen(WEB2, WEB2.name, 0, 22, 3022, 9999)
        self.assert_chosen(WEB2, WEB2.name.upper())
        self.assert_chosen(WEB2, f"{WEB2.name}.{CLUSTER}.")
        for state in State:
            self.assert_chosen(each := node(7, "web1", state), each.name, nodes=(*NODES, each))

    def test_uuid_before_all_else(self) -> None:
        """A node that is called like another's UUID is not mistaken for it."""
        impostor = node(8, WEB1.name, tier=WEB1.name)
        self.assert_chosen(WEB1, WEB1.name, nodes=(impostor, *NODES))
        self.assert_chosen(WEB1, WEB1.name, nodes=(*NODES, impostor))

    def test_address(self) -> None:
        """The advertised address, and the public ones, by IP address or name."""
        self.assert_chosen(WEB1, "10.0.0.1")
        self.assert_chosen(DB1, "2001:db8::3")
        self.assert_chosen(ALIAS, "10.0.0.4")
        self.assert_chosen(ALIAS, "mail.example.org")
        self.assert_chosen(ALIAS, "MAIL.example.org.")
        self.assert_chosen(ALIAS, "198.51.100.4")

    def test_address_in_another_form(self) -> None:
        """An IPv6 address has many forms, all of them the same address."""
        for host in ("2001:DB8::3", "2001:db8:0:0:0:0:0:3", "2001:0db8::0003"):
            self.assert_chosen(DB1, host)
            self.assert_chosen(DB1, host, 2222)

    def test_ports(self) -> None:
        """A port that a client sends by itself means none; another has to be the node's own."""
        for port in UNSPECIFIED_PORTS:
            self.assert_chosen(DB1, "db1.internal", port)
            self.assert_chosen(DB1, "2001:db8::3", port)
        self.assertEqual(UNSPECIFIED_PORTS, {0, 22, 3022})
        self.assert_chosen(DB1, "db1.internal", 2222)
        self.assert_chosen(DB1, "2001:db8::3", 2222)
        self.assert_chosen(ALIAS, "mail", 2022)
        self.assert_chosen(ALIAS, "mail.example.org", 2022)
        for host, port in (("db1.internal", 2223), ("2001:db8::3", 2223), ("10.0.0.4", 2022), ("web1", 80)):
            self.assertRaises(NotFound, chosen, host, port)

    def test_port_tells_apart(self) -> None:
        """Two nodes at one address are told apart by the port."""
        first, second = node(5, "a", addr="192.0.2.1:4001"), node(6, "b", addr="192.0.2.1:4002")
        self.assert_chosen(first, "192.0.2.1", 4001, nodes=(first, second))
        self.assert_chosen(second, "192.0.2.1", 4002, nodes=(first, second))
        self.assertRaises(AmbiguousName, chosen, "192.0.2.1", 22, nodes=(first, second))

    def test_label(self) -> None:
        """One label that one node has; the port says nothing then."""
        self.assert_chosen(WEB1, "env=prod", 0, 22, 9999)
        self.assert_chosen(WEB2, "ENV=Test.")
        self.assert_chosen(WEB2, "env=test.demo.example")

    def test_label_of_a_command(self) -> None:
        """What a command printed is a label, too; a static one of the same name hides it."""
        shown = evolve(WEB1, cmd_labels={"arch": CommandLabel(("uname", "-m"), 60, "x86_64")})
        self.assert_chosen(shown, "arch=x86_64", nodes=(shown, WEB2))
        hidden = evolve(WEB1, cmd_labels={"env": CommandLabel(("uname",), 60, "Linux")})
        self.assertRaises(NotFound, chosen, "env=Linux", nodes=(hidden, WEB2))

    def test_odd_labels(self) -> None:
        """Values that end in a dot, or in the cluster's name, or hold the sign between name and value, or nothing."""
        odd = evolve(WEB1, labels={"v": "1.", "fqdn": "web1.demo.example", "a=b": "c=d", "Empty": ""})
        for asked in ("v=1.", "v=1", "fqdn=web1.demo.example", "a=b=c=d", "empty="):
            self.assert_chosen(odd, asked, nodes=(odd, WEB2))

    def test_cluster(self) -> None:
        """The cluster may be named, and then it has to be this one."""
        for cluster in ("demo.example", "DEMO.Example", ""):
            self.assertEqual(chosen("web1", cluster=cluster), WEB1)


class PresenceTests(SynchronousTestCase):
    """Namesakes: a rebuilt host and the record of its past, or two hosts that somebody called the same."""

    def test_online_wins(self) -> None:
        for state in (State.LATE, State.UNKNOWN, State.OFFLINE):
            past = node(9, "web1", state, env="prod")
            for nodes in ((past, WEB1), (WEB1, past)):
                for asked in ("web1", "env=prod"):
                    self.assertEqual(chosen(asked, nodes=nodes), WEB1)

    def test_names_win_over_addresses(self) -> None:
        """A host announces what it likes, and takes no node's name from it by that."""
        thief = evolve(node(9, "thief"), addr="web1:22", public_addrs=("web1.demo.example:3022", "10.0.0.1"))
        for nodes in ((thief, *NODES), (*NODES, thief)):
            self.assertEqual(chosen("web1", nodes=nodes), WEB1)
            self.assertEqual(chosen("web1.demo.example", nodes=nodes), WEB1)
        gone = evolve(WEB1, presence=Presence(State.OFFLINE))
        self.assertEqual(chosen("web1", nodes=(gone, thief)), thief)

    def test_most_present_wins(self) -> None:
        """Where none is online, the one of which most is known."""
        order = [node(number, "web1", state) for number, state in enumerate((State.LATE, State.UNKNOWN, State.OFFLINE))]
        while order:
            self.assertEqual(chosen("web1", nodes=tuple(reversed(order))), order.pop(0))

    def test_any_may_be_tried(self) -> None:
        """What auth believes of a node never forbids to dial it."""
        for state in State:
            only = node(9, "web9", state)
            self.assertEqual(chosen("web9", nodes=(only, *NODES)), only)

    def test_ambiguous(self) -> None:
        """Two of the same state: the person has to say which."""
        for state in State:
            nodes = (node(8, "web9", state), node(9, "web9", state))
            refusal = self.assertRaises(AmbiguousName, chosen, "web9", nodes=nodes)
            self.assertEqual(
                refusal.sentence,
                '"web9" may be any of these, say which by its UUID: '
                f"web9 {uuid(8)} 10.0.0.8:3022 ({state.value}); web9 {uuid(9)} 10.0.0.9:3022 ({state.value})",
            )
            self.assertEqual(len(refusal.facts["candidates"]), 2)

    def test_ambiguous_only_among_the_present(self) -> None:
        """Those that are offline are not listed where two are online."""
        nodes = (node(7, "web9", State.OFFLINE), node(8, "web9"), node(9, "web9"))
        refusal = self.assertRaises(AmbiguousName, chosen, "web9", nodes=nodes)
        self.assertNotIn(uuid(7), refusal.sentence)

    def test_ambiguous_label(self) -> None:
        refusal = self.assertRaises(AmbiguousName, chosen, "tier=web")
        for each in (WEB1, WEB2):
            self.assertIn(f"{each.hostname} {each.name} {each.addr} (online)", refusal.sentence)

    def test_many_candidates(self) -> None:
        """A long list is cut in the sentence."""
        nodes = tuple(node(number, f"w{number}", tier="web") for number in range(100, 200))
        refusal = self.assertRaises(AmbiguousName, chosen, "tier=web", nodes=nodes)
        self.assertEqual(refusal.sentence.count("(online)"), MAX_CANDIDATES_SHOWN)
        self.assertTrue(refusal.sentence.endswith("; ..."))


class NotFoundTests(SynchronousTestCase):
    def not_found(self, host: str, port: int = 0, cluster: str = "", nodes: tuple[Server, ...] = NODES) -> str:
        sentence: str = self.assertRaises(NotFound, chosen, host, port, cluster, nodes).sentence
        return sentence

    def test_unknown(self) -> None:
        self.assertEqual(
            self.not_found("nowhere.example.net"),
            'no node is called "nowhere.example.net", and no label or address is that',
        )
        self.assertEqual(self.not_found("env=none"), 'no node is called "env=none", and no label or address is that')

    def test_similar(self) -> None:
        """Nodes that are called nearly so are listed."""
        sentence = self.not_found("web3")
        self.assertTrue(sentence.startswith('no node is called "web3", and no label or address is that. Similar: '))
        for each in (WEB1, WEB2):
            self.assertIn(f"{each.hostname} {each.name} {each.addr} (online)", sentence)
        self.assertNotIn("mail", sentence)

    def test_another_port(self) -> None:
        """So is the node that was meant, where only the port is wrong."""
        self.assertEqual(
            self.not_found("db1.internal", 2223),
            'no node is called "db1.internal" with port 2223, and no label or address is that. Similar: '
            f"db1.internal {DB1.name} [2001:db8::3]:2222 (online)",
        )
        self.assertIn(f"web1 {WEB1.name}", self.not_found("10.0.0.1", 80))

    def test_similar_among_many(self) -> None:
        """In a large cluster a few are named, and the answer does not take long."""
        nodes = tuple(node(number, f"web{number}.prod.example.com") for number in range(20_000))
        sentence = self.not_found("web70000.prod.exampel.com", nodes=nodes)
        self.assertEqual(sentence.count("(online)"), MAX_CANDIDATES_SHOWN)

    def test_uuid(self) -> None:
        """A UUID that no node has means nothing else, even where a node or a label is called so."""
        called = node(8, uuid(99), tier=uuid(99))
        for host in (uuid(99), uuid(99).upper()):
            sentence = self.not_found(host, nodes=(called, *NODES))
            self.assertEqual(sentence, f"unable to locate node matching uuid-like target {uuid(99)}")

    def test_unknown_cluster(self) -> None:
        for host in ("web1", "nobody", uuid(1)):
            sentence = self.not_found(host, cluster="other.example")
            self.assertEqual(sentence, 'invalid format for proxy request: unknown cluster "other.example"')

    def test_part_of_a_name(self) -> None:
        """Nothing is completed."""
        for host in ("web", "eb1", "web1.demo", "web1.other.example", "db1", "env", "env=pro", "=prod", "10.0.0", "*"):
            self.not_found(host)

    def test_nothing(self) -> None:
        """A name that is empty, once it is read, is nobody's: not that of a node without an address either."""
        nowhere = evolve(WEB1, addr="", public_addrs=("",))
        for host in ("", ".", "...", f".{CLUSTER}", f".{CLUSTER}.", "[]"):
            self.assertEqual(self.not_found(host, nodes=(nowhere,))[:18], "no node is called ")

    def test_no_nodes(self) -> None:
        self.not_found("web1", nodes=())

    def test_hostile_names(self) -> None:
        """Names that mean something elsewhere mean nothing here."""
        for host in (
            "$(id)",
            "-oProxyCommand=x",
            "../web1",
            "web1;id",
            "%h",
            "web1\0",
            "web1 ",
            "\u202eweb1",
            "x" * 5000,
        ):
            self.not_found(host)

    def test_hostile_addresses(self) -> None:
        """What one node announces keeps nobody from the others."""
        for addr in (
            "",
            ":",
            "10.0.0.1:²",
            "10.0.0.1:٣٠٢٢",
            "a:" + "9" * 290,
            "[",
            "]:1",
            "[::1",
            "::1:3022",
            "x" * 300,
        ):
            hostile = evolve(node(66, "hostile", addr="x"), addr=addr, public_addrs=(addr,))
            self.assertEqual(chosen("web1", nodes=(hostile, *NODES)), WEB1)
            self.not_found("nobody", 80, nodes=(hostile, *NODES))


class SubsystemTests(SynchronousTestCase):
    def test_good(self) -> None:
        for name, wanted in (
            ("proxy:web1:3022", Wanted("web1", 3022)),
            ("proxy:web1:0", Wanted("web1", 0)),
            ("proxy:web1:65535", Wanted("web1", 65535)),
            ("proxy:web1", Wanted("web1", 0)),
            ("proxy:web1:3022@demo", Wanted("web1", 3022, "demo")),
            ("proxy:web1@demo", Wanted("web1", 0, "demo")),
            ("proxy:web1:22@default@demo.example", Wanted("web1", 22, "demo.example")),
            ("proxy:web1:22@", Wanted("web1", 22)),
            ("proxy:[2001:db8::1]:22@demo", Wanted("2001:db8::1", 22, "demo")),
            ("proxy:[::1]", Wanted("::1", 0)),
            ("proxy:env=prod:22", Wanted("env=prod", 22)),
            ("proxy:bücher.example:22", Wanted("bücher.example", 22)),
            (f"proxy:{uuid(1)}:0@demo", Wanted(uuid(1), 0, "demo")),
        ):
            self.assertEqual(parse_subsystem(name), wanted)

    def test_clusters_that_are_none(self) -> None:
        """What follows the namespace is the cluster, all of it."""
        wanted = parse_subsystem("proxy:web1:22@default@x@demo.example")
        refusal = self.assertRaises(NotFound, choose, wanted, NODES, CLUSTER)
        self.assertEqual(refusal.sentence, 'invalid format for proxy request: unknown cluster "x@demo.example"')

    def test_bad(self) -> None:
        for name in (
            "",
            "proxy",
            "proxy:",
            "proxy::22",
            "proxy:@demo",
            "proxy:[]:22",
            "proxy:[[]:22",
            "proxy:[::1:22",
            "proxy:::1:22",
            "proxy:web1:",
            "proxy:web1:22:23",
            "proxy:web1:65536",
            "proxy:web1:-1",
            "proxy:web1:+22",
            "proxy:web1:2 2",
            "proxy:web1:x",
            "proxy:web1:000022",
            "proxy:web1:٢٢",
            "proxy:web1:22@demo:1",
            "Proxy:web1:22",
            " proxy:web1:22",
            "proxysites",
        ):
            refusal = self.assertRaises(BadParameter, parse_subsystem, name)
            self.assertEqual(
                refusal.sentence, f"invalid format for proxy request: \"{name}\", expected 'proxy:host:port@cluster'"
            )

    def test_unprintable(self) -> None:
        """What would move a terminal's cursor, or hide the rest of the line, is not repeated as it is."""
        for name, shown in (
            ("proxy:web1\n:22", r"proxy:web1\n:22"),
            ("proxy:web1:22\n", r"proxy:web1:22\n"),
            ("proxy:\x1b[2J:22", r"proxy:\x1b[2J:22"),
            ("proxy:a\0b:22", r"proxy:a\x00b:22"),
            ("proxy:\u202eweb1:22", r"proxy:\u202eweb1:22"),
            ("proxy:web1:22@\x07", r"proxy:web1:22@\x07"),
        ):
            refusal = self.assertRaises(BadParameter, parse_subsystem, name)
            self.assertIn(f'"{shown}"', refusal.sentence)

    def test_long(self) -> None:
        """A long name is refused, and repeated in part."""
        name = "proxy:" + "x" * MAX_TARGET_CHARS
        refusal = self.assertRaises(BadParameter, parse_subsystem, name)
        self.assertLess(len(refusal.sentence), MAX_TARGET_CHARS + 100)
        self.assertEqual(len(parse_subsystem(name[:MAX_TARGET_CHARS]).host), MAX_TARGET_CHARS - 6)

    @settings(deadline=None)
    @given(name=st.text() | st.from_regex(r"proxy:[a-z\[\]:@.=0-9]{0,30}", fullmatch=True))
    def test_anything(self, name: str) -> None:
        """Whatever it says, it is read or refused."""
        try:
            wanted = parse_subsystem(name)
        except BadParameter as refusal:
            self.assertTrue(refusal.sentence.isprintable())
        else:
            self.assertTrue(wanted.host)
            self.assertTrue(0 <= wanted.port < 1 << 16)


class AddressTests(SynchronousTestCase):
    def test_split(self) -> None:
        for address, parts in (
            ("web1:22", ("web1", 22)),
            ("10.0.0.1:3022", ("10.0.0.1", 3022)),
            ("[::1]:3022", ("::1", 3022)),
            ("[::1]", ("::1", 0)),
            ("::1", ("::1", 0)),
            ("2001:db8::1:22", ("2001:db8::1:22", 0)),
            ("web1", ("web1", 0)),
            ("", ("", 0)),
            ("web1:", ("web1:", 0)),
            ("web1:²", ("web1:²", 0)),
            ("web1:٢٢", ("web1:٢٢", 0)),
        ):
            self.assertEqual(split_address(address), parts)

    @settings(deadline=None)
    @given(address=st.text())
    def test_anything(self, address: str) -> None:
        """Whatever a host announces can be taken apart."""
        host, port = split_address(address)
        self.assertTrue(isinstance(host, str) and port >= 0)

    @settings(deadline=None)
    @given(host=st.text(alphabet="abcXYZ019.-:="))
    def test_normalized(self, host: str) -> None:
        """However a name is spelled, there is one form of it."""
        spellings = (host, host.upper(), f"{host}.", f"{host}..")
        self.assertEqual(len({normalized(each, CLUSTER) for each in spellings}), 1)


hostnames = st.sampled_from(("web1", "WEB1", "web1.demo.example", "web2", "db1", "10.0.0.1", uuid(1), uuid(2)))
fleets = st.lists(
    st.builds(
        lambda number, hostname, state, addr, env: node(number, hostname, state, addr, env=env),
        st.integers(1, 4),
        hostnames,
        st.sampled_from(State),
        st.sampled_from(("10.0.0.1:3022", "10.0.0.2:2222", "web1:22", "[::1]:3022", "")),
        st.sampled_from(("prod", "test")),
    ),
    max_size=5,
    unique_by=lambda each: each.name,
)
asked = st.builds(
    Wanted,
    hostnames | st.sampled_from(("env=prod", "env=test", "::1", "10.0.0.2", "nobody")),
    st.sampled_from((0, 22, 3022, 2222, 80)),
)


def outcome(wanted: Wanted, nodes: list[Server]) -> object:
    """The node, or the sentence of the refusal."""
    try:
        return choose(wanted, nodes, CLUSTER)
    except TeleportError as refusal:
        return type(refusal), refusal.sentence


class AnyFleetTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(wanted=asked, nodes=fleets, random=st.randoms())
    def test_order(self, wanted: Wanted, nodes: list[Server], random: Random) -> None:
        """In which order the nodes are known never matters."""
        shuffled = list(nodes)
        random.shuffle(shuffled)
        self.assertEqual(outcome(wanted, nodes), outcome(wanted, shuffled))

    @settings(deadline=None)
    @given(wanted=asked, nodes=fleets)
    def test_fits(self, wanted: Wanted, nodes: list[Server]) -> None:
        """Who is chosen is one of the nodes, is what was asked for, and no other that fits is more present."""
        found = outcome(wanted, nodes)
        if not isinstance(found, Server):
            return
        self.assertIn(found, nodes)
        names = {found.name, normalized(found.hostname, CLUSTER), split_address(found.addr)[0]}
        names |= {f"{key}={value}" for key, value in found.all_labels.items()}
        self.assertIn(normalized(wanted.host, CLUSTER), names)
        others = [each for each in nodes if each.name != found.name and each.presence.state is State.ONLINE]
        alone = outcome(wanted, others)
        if isinstance(alone, Server) and wanted.host != found.name:
            self.assertIs(found.presence.state, State.ONLINE)
