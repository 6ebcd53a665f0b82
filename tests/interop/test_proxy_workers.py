"""A proxy whose network side runs as an account of its own, and connections that outlive it."""

from __future__ import annotations

import os
import pwd
import re
import signal
from functools import cache
from pathlib import Path

from teleport_conch.certs.names import SERVER_NAME
from tests.interop.cluster import STATIC_TOKEN, Cluster
from tests.interop.person import Person
from tests.interop.programs import check, eventually, installed
from tests.interop.requirements import require
from tests.interop.services import STOPPED
from tests.interop.terminals import Terminal
from tests.interop.web import ask
from tests.interop.workers import ACCOUNT, WorkerCase, alive, children, supervised

ROOT = Path(__file__).parents[2]


@cache
def cluster() -> Cluster:
    """One with a supervised proxy."""
    made = Cluster(heartbeat="1s")
    made.folder.chmod(0o711)
    made.proxy.settings["teleport"]["auth_token"] = STATIC_TOKEN
    supervised(made.proxy)
    return made.start("web1")


@cache
def dora() -> Person:
    return cluster().person("dora")


class ProxyCase(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.service = self.proxy = cluster().proxy
        if self.proxy.process is None:
            self.proxy.start()

    def session(self) -> Terminal:
        """A shell-like session through the proxy, which says what is typed."""
        words = ("-F", str(dora().jump_config), "-tt", "web1", "echo on; cat")
        return Terminal(require("ssh", "openssh-client"), *words)

    def goes_on(self, terminal: Terminal) -> None:
        """The session is there, and ends as it should."""
        terminal.type("still here\n\x04")
        terminal.read_until(b"still here")
        self.assertEqual(terminal.ended(), 0)

    def serves(self) -> None:
        eventually(lambda: dora().ssh("web1", "true").code == 0, "the new worker serves")

    def serves_pages(self) -> None:
        """The web port is the new worker's, too: pages, and the way to auth."""
        self.assertEqual(ask(cluster().web_port, "/web/login").status, 200)
        self.assertEqual(ask(cluster().web_port, "/v1/ping", server_name=SERVER_NAME).status, 200)


class ProxyPrivilegeTests(ProxyCase):
    def test_accounts(self) -> None:
        """What speaks with the network has no right of root's; nothing else runs beside it."""
        (worker,) = children(self.main())
        status = dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
        account = pwd.getpwnam(ACCOUNT)
        self.assertEqual(status["Uid"].split(), [str(account.pw_uid)] * 4)
        self.assertEqual(status["Gid"].split(), [str(account.pw_gid)] * 4)
        self.assertEqual(int(status["CapEff"], 16), 0)
        self.assertEqual(self.proxy.data_dir.stat().st_uid, account.pw_uid)
        self.serves_pages()
        self.assertEqual((self.proxy.data_dir / "webproxy_key.pem").stat().st_uid, account.pw_uid)
        check(dora().ssh("web1", "true"))

    def test_rights_of_the_unit(self) -> None:
        """What the unit leaves root is enough to start, to be told to begin anew, and to stop."""
        unit = (ROOT / "etc" / "systemd" / "teleport-proxy.service").read_text()
        (rights,) = re.findall("^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
        kept = "".join(f",+{right.removeprefix('CAP_').lower()}" for right in rights.split())
        twist = installed("twist")
        confined = f"setpriv --no-new-privs --bounding-set=-all{kept} --inh-caps=-all"
        apart = Cluster(auth_port=cluster().auth_port)
        apart.folder.chmod(0o711)
        other = apart.proxy
        other.settings["teleport"].update(auth_token=STATIC_TOKEN, nodename="confined")
        other.line = supervised(other).line.replace(f"exec {twist}", f"exec {confined} {twist}")
        self.service = other.start()
        other.says(f"The proxy is served by the account {ACCOUNT}.")
        old = self.worker()
        os.kill(self.main(), signal.SIGHUP)
        eventually(lambda: not alive(old) and self.new_worker(old), "another worker")
        self.assertIn(other.stop(), STOPPED)

    def test_log_file(self) -> None:
        """Supervisor and worker write to one log file, also after it was rotated."""
        apart = Cluster(auth_port=cluster().auth_port)
        apart.folder.chmod(0o711)
        log = apart.folder / "teleport.log"
        log.touch(mode=0o640)
        apart.proxy.settings["teleport"].update(
            auth_token=STATIC_TOKEN, nodename="logging", log={"output": str(log), "severity": "INFO"}
        )
        self.service = supervised(apart.proxy).start()
        serves, served = "serves SSH on", f"The proxy is served by the account {ACCOUNT}."
        eventually(lambda: serves in log.read_text() and served in log.read_text(), "both are in the log")
        log.rename(apart.folder / "teleport.log.1")
        log.touch(mode=0o640)
        os.kill(self.main(), signal.SIGHUP)
        eventually(lambda: serves in log.read_text(), "the new worker writes to the new file")
        self.assertIn(apart.proxy.stop(), STOPPED)

    def test_port_in_use(self) -> None:
        """A second one says who has the port, and starts nobody."""
        other = Cluster(auth_port=cluster().auth_port, proxy_port=cluster().proxy_port).proxy
        supervised(other).launch()
        self.assertEqual(other.ended(), 1)
        self.assertRegex(
            other.log, r"error: The proxy cannot listen on port \d+ of 127.0.0.1: it is in use by twist \("
        )

    def test_unreadable_configuration(self) -> None:
        """A worker that cannot start says why, and its supervisor that it did."""
        other = Cluster().proxy
        supervised(other)
        other.line = other.line.replace(f"chown {ACCOUNT}", "chown root")
        other.launch()
        self.assertEqual(other.ended(), 1)
        self.assertIn(f"{other.config} cannot be read: Permission denied.", other.log)
        said = f"error: The proxy could not be started as the account {ACCOUNT}; the reason stands above."
        self.assertIn(said, other.log)


class ProxyRestartTests(ProxyCase):
    """Connections outlive the service that they go through."""

    def test_restart(self) -> None:
        """A stopped proxy is gone at once; the sessions through it go on beside the next one."""
        old = self.worker()
        with self.session() as terminal:
            terminal.read_until(b"on\r\n")
            self.proxy.restart()
            self.serves()
            self.serves_pages()
            self.assertNotEqual(self.worker(), old)
            self.assertTrue(alive(old))
            self.goes_on(terminal)
        eventually(lambda: not alive(old), "the old worker ends with its last client")

    def test_hang_up(self) -> None:
        """SIGHUP starts a new worker; the supervisor stays, and no connection is refused meanwhile."""
        main, old = self.main(), self.worker()
        with self.session() as terminal:
            terminal.read_until(b"on\r\n")
            os.kill(main, signal.SIGHUP)
            while not self.new_worker(old):
                check(dora().ssh("web1", "true"))
            check(dora().ssh("web1", "true"))
            self.serves_pages()
            self.goes_on(terminal)
        eventually(lambda: not alive(old), "the old worker ends with its last client")
        self.assertEqual(self.main(), main)

    def test_killed_worker(self) -> None:
        """Another takes its place."""
        old = self.worker()
        os.kill(old, signal.SIGKILL)
        eventually(lambda: self.new_worker(old), "another worker")
        self.serves()

    def test_killed_supervisor(self) -> None:
        """Its worker serves those who are there, and nobody else; another supervisor starts."""
        old = self.worker()
        with self.session() as terminal:
            terminal.read_until(b"on\r\n")
            self.proxy.kill()
            self.proxy.start()
            self.serves()
            self.goes_on(terminal)
        eventually(lambda: not alive(old), "the old worker ends with its last client")

    def test_events(self) -> None:
        """What happens through a worker that retired is told, once."""
        before = len(cluster().events("proxy.connect"))
        with self.session() as terminal:
            terminal.read_until(b"on\r\n")
            self.proxy.restart()
            self.goes_on(terminal)
        self.serves()
        eventually(lambda: len(cluster().events("proxy.connect")) >= before + 2, "both are told")
        uids = [event["uid"] for event in cluster().events("proxy.connect")]
        self.assertEqual(len(set(uids)), len(uids))
