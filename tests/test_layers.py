"""Who may import whom: imports go down, never up or sideways, and never in a circle.

The package is read, not run, so an import counts wherever it stands: at the top of a file, in a function, or for the
type checker only. A module that is loaded by its name (``namedAny("teleport_conch.node.service")``) is no import; that
is how the commands reach a service without depending on it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

import teleport_conch

ROOT = Path(teleport_conch.__file__).parent
OURS = "teleport_conch"

# From top to bottom; rooms on one line do not import each other.
LINES = (
    ("process",),
    ("cli",),
    ("auth", "proxy", "node"),
    ("web",),
    ("supervisor",),
    ("member",),
    ("company",),
    ("cache",),
    ("audit",),
    ("client",),
    ("https",),
    ("storage",),
    ("access",),
    ("proxy_protocol",),
    ("ssh",),
    ("certs",),
    ("starting",),
    ("config", "periodic", "steady", "resources", "errors", "version", "wire", "rank", "durations"),
)
HEIGHT = {room: -number for number, rooms in enumerate(LINES) for room in rooms}

# The bottom line in itself: everything there may raise our errors, resources are read with the bounded reader, and
# durations are written in one way everywhere.
WITHIN_A_LINE = {
    *(("config", "errors"), ("periodic", "errors"), ("resources", "errors"), ("resources", "wire")),
    *(("config", "durations"), ("resources", "durations")),
}

# The rooms within auth, from top to bottom; above them stand the modules that put them together, below all its bounds.
WITHIN_AUTH = ("routes", "people", "rules", "recordings", "hosts", "state")

# Rooms that may see less than what lies below them.
ONLY = {
    "ssh": {"certs", "wire", "errors"},
    "cli": {"access", "audit", "client", "config", "resources", "errors", "certs", "version", "durations"},
}

# Rooms and modules with a single user.
OWNED = {"certs.authority": "auth", "web": "proxy"}

PURE = ("errors", "resources", "wire", "durations", "certs", "access", "proxy_protocol")
MAY_IMPORT_THE_REACTOR = ("process", "cli")


@frozen
class Edge:
    """One import of one module of ours by another, both without the package's own name: ``certs.trust``."""

    importer: str
    imported: str

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported}"


def room(module: str) -> str:
    return module.partition(".")[0]


def imported_names(source: str) -> Iterator[str]:
    """Each absolute dotted name that a source imports; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def edges(sources: Mapping[str, str]) -> Iterator[Edge]:
    """The imports between our modules; an imported function counts as its module."""
    for importer, source in sources.items():
        for name in imported_names(source):
            head, _, rest = name.partition(".")
            imported = rest if rest in sources else rest.rpartition(".")[0]
            if head == OURS and imported and imported in sources and imported != importer:
                yield Edge(importer, imported)


def complaint(edge: Edge) -> str | None:
    """Why an import is wrong, or None."""
    upper, lower = room(edge.importer), room(edge.imported)
    unknown = {upper, lower} - HEIGHT.keys()
    owner = OWNED.get(edge.imported, OWNED.get(lower))
    if unknown:
        return f"{unknown.pop()} has no place among the rooms"
    if owner is not None and upper not in (owner, room(edge.imported)):
        return f"only {owner} imports {edge.imported}"
    if upper == lower == "auth":
        return complaint_within_auth(edge)
    if upper == lower or (upper, lower) in WITHIN_A_LINE:
        return None
    if HEIGHT[upper] <= HEIGHT[lower]:
        return "imports go down only"
    if lower not in ONLY.get(upper, HEIGHT):
        return f"{upper} imports only {', '.join(sorted(ONLY[upper]))}"
    return None


def complaint_within_auth(edge: Edge) -> str | None:
    """The same for an import within auth; whatever stands in none of its rooms is left to :func:`cycle`."""
    upper, lower = ((*module.split("."), "")[1] for module in (edge.importer, edge.imported))
    if {upper, lower} <= set(WITHIN_AUTH) and WITHIN_AUTH.index(upper) > WITHIN_AUTH.index(lower):
        return "imports go down only"
    return None


def complaints(found: Iterator[Edge]) -> list[str]:
    return sorted(f"{edge}: {why}" for edge in set(found) if (why := complaint(edge)) is not None)


def cycle(found: Iterator[Edge]) -> list[str]:
    """The modules of one circle of imports, the first of them again at the end; empty where there is none."""
    graph: dict[str, set[str]] = {}
    for edge in found:
        graph.setdefault(edge.importer, set()).add(edge.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        modules: list[str] = error.args[1]
        return modules
    return []


def imports_the_reactor(source: str) -> bool:
    return any(f"{name}.".startswith("twisted.internet.reactor.") for name in imported_names(source))


def may_import_the_reactor(module: str) -> bool:
    return room(module) in MAY_IMPORT_THE_REACTOR or module.endswith(".service")


def reads_the_world(source: str) -> list[str]:
    """What a pure module must not do: clocks, sockets, programs, chance, and files that it opens itself."""
    modules = {"time", "socket", "subprocess", "random", "secrets", "twisted.internet.reactor"}
    calls = {"open", "now", "utcnow", "today", "read_bytes", "read_text", "write_bytes", "write_text", "urandom"}
    found = [name for name in imported_names(source) if name.partition(".")[0] in modules or name in modules]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            if called in calls:
                found.append(f"{called}()")
    return found


def read_package() -> dict[str, str]:
    """The source of each module of ours by its name without the package's own; a package goes by its own name."""
    sources = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        sources[name] = path.read_text(encoding="utf-8")
    return sources


class RuleTests(SynchronousTestCase):
    """The rules themselves, on imports that nobody wrote."""

    def test_allowed(self) -> None:
        """Down, within a room, and the few steps along the bottom line."""
        for importer, imported in (
            ("process", "node.service"),
            ("node.uplink", "client.api"),
            ("ssh.transport", "certs.trust"),
            ("certs.trust", "certs.certificate"),
            ("auth.signing", "certs.authority"),
            ("auth.rules.locks", "auth.hosts.hosts"),
            ("auth.rules.locks", "auth.limits"),
            ("resources.token", "errors"),
            ("resources.token", "wire"),
            ("proxy.service", "web.pages"),
        ):
            self.assertIs(complaint(Edge(importer, imported)), None)

    def test_refused(self) -> None:
        """Up, sideways, past what a room may see, another's own, and from nowhere."""
        for importer, imported, why in (
            ("certs.trust", "ssh.transport", "imports go down only"),
            ("node.service", "proxy.service", "imports go down only"),
            ("auth.hosts.joining", "auth.rules.locks", "imports go down only"),
            ("wire", "errors", "imports go down only"),
            ("ssh.transport", "resources", "ssh imports only certs, errors, wire"),
            (
                *("cli.tctl", "storage.sqlite"),
                "cli imports only access, audit, certs, client, config, durations, errors, resources, version",
            ),
            ("node.uplink", "certs.authority", "only auth imports certs.authority"),
            ("node.uplink", "web.pages", "only proxy imports web.pages"),
            ("helpers", "errors", "helpers has no place among the rooms"),
        ):
            self.assertEqual(complaints(iter([Edge(importer, imported)])), [f"{importer} imports {imported}: {why}"])

    def test_every_import_counts(self) -> None:
        """An import in a function is one, a function is taken for its module, and others' modules are left out."""
        sources = {
            "errors": "",
            "certs": "",
            "certs.trust": "from teleport_conch.errors import NotFound\nimport os",
            "node.service": "def f():\n    from teleport_conch.certs import trust\n    import teleport_conch.errors",
        }
        self.assertEqual(
            list(edges(sources)),
            [Edge("certs.trust", "errors"), Edge("node.service", "certs.trust"), Edge("node.service", "errors")],
        )

    def test_cycle(self) -> None:
        """A circle is found within a room too, where no rule about lines would see it."""
        self.assertEqual(cycle(iter([Edge("ssh.a", "ssh.b"), Edge("ssh.b", "ssh.c")])), [])
        self.assertEqual(set(cycle(iter([Edge("ssh.a", "ssh.b"), Edge("ssh.b", "ssh.a")]))), {"ssh.a", "ssh.b"})

    def test_reactor(self) -> None:
        """Both ways to import the reactor are seen, and its interfaces are something else."""
        self.assertTrue(imports_the_reactor("def f():\n    from twisted.internet import reactor"))
        self.assertTrue(imports_the_reactor("import twisted.internet.reactor"))
        self.assertFalse(imports_the_reactor("from twisted.internet.interfaces import IReactorTime"))
        self.assertTrue(may_import_the_reactor("node.service"))
        self.assertFalse(may_import_the_reactor("node.uplink"))

    def test_world(self) -> None:
        """Clocks and files are seen, whatever they are imported as."""
        source = "import time\nfrom socket import create_connection\ndatetime.now(UTC)\nopen('x')\nbounds.open"
        self.assertEqual(reads_the_world(source), ["time", "socket.create_connection", "now()", "open()"])


class PackageTests(SynchronousTestCase):
    """The package as it is."""

    def setUp(self) -> None:
        self.sources = read_package()

    def test_imports_go_down(self) -> None:
        """No import goes up or sideways, or takes what belongs to another room."""
        self.assertIn("errors", self.sources)
        self.assertEqual(complaints(edges(self.sources)), [])

    def test_every_room_has_a_place(self) -> None:
        """A new file or folder at the top of the package gets its line here first."""
        rooms = {room(module) for module in self.sources if module}
        self.assertEqual(rooms - HEIGHT.keys(), set())

    def test_no_cycle(self) -> None:
        """No modules import each other in a circle."""
        self.assertEqual(cycle(edges(self.sources)), [])

    def test_imports_are_absolute(self) -> None:
        """A relative import would pass the other tests unseen."""
        relative = [
            module
            for module, source in self.sources.items()
            if any(name.startswith(".") for name in imported_names(source))
        ]
        self.assertEqual(relative, [])

    def test_the_reactor_is_an_argument(self) -> None:
        """Only what composes a service, or is a command, imports the reactor."""
        importers = [
            module
            for module, source in self.sources.items()
            if imports_the_reactor(source) and not may_import_the_reactor(module)
        ]
        self.assertEqual(importers, [])

    def test_packages_are_docstrings(self) -> None:
        """A package's own file holds its docstring and nothing else, so that importing one module loads one module."""
        packages = {path: ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("__init__.py")}
        busy = [str(path) for path, tree in packages.items() if len(tree.body) != 1 or ast.get_docstring(tree) is None]
        self.assertEqual(busy, [])

    def test_pure_rooms_read_nothing(self) -> None:
        """The pure rooms open no file, read no clock and draw no random numbers: these are arguments."""
        found = {
            module: names
            for module, source in self.sources.items()
            if room(module) in PURE and (names := reads_the_world(source))
        }
        self.assertEqual(found, {})

    def test_pure_rooms_install_no_reactor(self) -> None:
        """Importing a pure module does not import the reactor by way of somebody else's module (as Conch's would)."""
        modules = [f"{OURS}.{module}" for module in self.sources if room(module) in PURE]
        program = (
            "import importlib, sys\n"
            "for name in sys.argv[1:]:\n"
            "    importlib.import_module(name)\n"
            "    if 'twisted.internet.reactor' in sys.modules:\n"
            "        sys.exit(f'importing {name} installs a reactor')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, *modules],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=ROOT.parent,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
