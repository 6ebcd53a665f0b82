"""A node whose network side runs as an account of its own: what it can do, and sessions that outlive it."""

from __future__ import annotations

import json
import os
import pwd
import signal
from functools import cache
from pathlib import Path

from tests.interop.accounts import guest_account
from tests.interop.cluster import LOGIN, STATIC_TOKEN, Cluster
from tests.interop.person import Person
from tests.interop.programs import check, eventually, run
from tests.interop.requirements import require
from tests.interop.services import Service
from tests.interop.shared import FIRST_DISPLAY
from tests.interop.terminals import Terminal
from tests.interop.test_windows import WindowCase
from tests.interop.workers import ACCOUNT, WorkerCase, alive, children, supervised


@cache
def cluster() -> Cluster:
    """One with a supervised node."""
    made = Cluster(heartbeat="1s").start()
    made.folder.chmod(0o711)
    node(made).start()
    made.know("web1")
    return made


def node(made: Cluster) -> Service:
    x11 = {"enabled": True, "display_offset": FIRST_DISPLAY}
    return supervised(made.node("web1", token=STATIC_TOKEN, settings={"x11": x11}))


@cache
def dora() -> Person:
    return cluster().person("dora", (guest_account().pw_name, LOGIN))


class NodeCase(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.login = guest_account().pw_name
        self.service = self.node = cluster().nodes["web1"]
        if self.node.process is None:
            self.node.start()


class WindowTests(NodeCase, WindowCase):
    def test_windows(self) -> None:
        """Displays are the worker's, and their cookies are kept by the guest's own ``xauth``."""
        require("xdpyinfo", "x11-utils")
        command = "xdpyinfo | head -1; stat -c %U .Xauthority"
        done = self.ssh(self.screen(), dora(), "-Y", f"{self.login}@web1", command)
        self.assertRegex(done.text, rf"name of display: +localhost:\d+\.0\n{self.login}\n", done)


class PrivilegeTests(NodeCase):
    """Who does what."""

    def test_accounts(self) -> None:
        """What speaks with the network has no right of root's, and neither has its folder an owner who is root."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.worker()}/status").read_text().splitlines())
        account = pwd.getpwnam(ACCOUNT)
        self.assertEqual(status["Uid"].split(), [str(account.pw_uid)] * 4)
        self.assertEqual(int(status["CapEff"], 16), 0)
        self.assertEqual(self.node.data_dir.stat().st_uid, account.pw_uid)

    def test_sessions(self) -> None:
        """It has sessions of every account started all the same."""
        for login in (self.login, "root"):
            self.assertEqual(check(dora().ssh(f"{login}@web1", "id -un")).text.strip(), login)

    def test_agent(self) -> None:
        """The socket of a forwarded agent is the guest's own."""
        said = check(run(require("ssh-agent", "openssh-client"), "-s")).text
        socket, pid = (line.partition("=")[2].partition(";")[0] for line in said.splitlines()[:2])
        self.addCleanup(lambda: run("kill", pid))
        done = dora().ssh(
            "-A", "-o", f"IdentityAgent={socket}", f"{self.login}@web1", "stat -c '%U %a' $SSH_AUTH_SOCK; ssh-add -l"
        )
        self.assertEqual(done.text.split("\n")[0], f"{self.login} 600", done)
        self.assertIn("The agent has no identities.", done.text)

    def test_unix_socket(self) -> None:
        """So is one that is listened on for the client."""
        path = f"{guest_account().pw_dir}/from-client"
        port = str(self.node.port)
        done = dora().ssh("-R", f"{path}:127.0.0.1:{port}", f"{self.login}@web1", f"stat -c '%U %a' {path}")
        self.assertEqual(done.text.strip(), f"{self.login} 600", done)

    def test_low_port(self) -> None:
        """A worker has no right to ports below 1024, which it says to root, too."""
        forward = ("-o", "ExitOnForwardFailure=yes", "-R", "987:127.0.0.1:22")
        done = dora().ssh(*forward, "root@web1", "echo in")
        self.assertIn("remote port forwarding failed for listen port 987", done.complaint)
        why = "This host cannot listen on localhost:987: Permission denied."
        cluster().event("port", lambda event: event.get("error") == why, why)

    def test_anchors(self) -> None:
        """The authorities were taken at the first start, into a file that workers cannot write."""
        path = self.node.data_dir.with_name("data.monitor") / "authorities"
        facts = path.stat()
        self.assertEqual((facts.st_uid, facts.st_mode & 0o777), (0, 0o644))
        self.assertIn("ssh-ed25519 ", path.read_text())

    def test_host_key(self) -> None:
        """The host key is the monitor's: in a file of root's alone, and nowhere in the folder of the workers."""
        path = self.node.data_dir.with_name("data.monitor") / "host_key"
        facts = path.stat()
        self.assertEqual((facts.st_uid, facts.st_mode & 0o777), (0, 0o600))
        self.assertNotIn("OPENSSH PRIVATE KEY", (self.node.data_dir / "identities" / "node.json").read_text())
        public = path.with_name("host_key.pub").read_text()
        certified = check(run(require("ssh-keyscan", "openssh-client"), "-p", str(self.node.port), "127.0.0.1")).text
        self.assertIn(public.split()[1], certified)

    def test_host_key_of_before(self) -> None:
        """A node that was one process keeps its key, which its worker then has no more; clients notice nothing."""
        node = supervised(cluster().node("web2", token=STATIC_TOKEN))
        self.addCleanup(node.stop)
        node.settings["teleport"]["account"] = "nobody-of-this-name"
        node.start()
        identity, kept = node.data_dir / "identities" / "node.json", node.data_dir.with_name("data.monitor")
        key = json.loads(identity.read_text())["spec"]["ssh_key"]
        self.assertIn("OPENSSH PRIVATE KEY", key)
        self.assertFalse(kept.exists())
        node.stop()
        before = len(node.log)
        node.settings["teleport"]["account"] = ACCOUNT
        node.start()
        node.says("The node web2 serves SSH on", since=before)
        self.assertEqual((kept / "host_key").read_text(), key)
        self.assertNotIn("OPENSSH PRIVATE KEY", identity.read_text())
        self.assertIn(f"The host key is in {kept} from now on, and not in {node.data_dir}.", node.log)
        cluster().know("web2")
        erin = cluster().person("erin", (self.login,))
        self.assertEqual(check(erin.ssh(f"{self.login}@web2", "id -un")).text.strip(), self.login)

    def test_another_name(self) -> None:
        """Who joins as another host on this one is told what there was before, and how to go on."""
        node = supervised(cluster().node("web4", token=STATIC_TOKEN))
        del cluster().nodes["web4"]
        node.start()
        node.says("The node web4 serves SSH on")
        node.stop()
        (node.data_dir / "host_uuid").unlink()
        (node.data_dir / "identities" / "node.json").unlink()
        node.launch()
        self.assertEqual(node.ended(), 1)
        path = node.data_dir.with_name("data.monitor") / "host_name"
        self.assertIn(
            f"this host was {path.read_text().strip()} before. If that is right, stop the service, ", node.log
        )
        path.unlink()
        said = len(node.log)
        node.start()
        node.says("The node web4 serves SSH on", since=said)
        node.stop()

    def test_keys_of_auth(self) -> None:
        """A node whose account would get the keys of the authorities does not start, and leaves them whose they are."""
        node = supervised(cluster().node("web3", token=STATIC_TOKEN))
        del cluster().nodes["web3"]
        database = node.data_dir / "backend" / "sqlite.db"
        database.parent.mkdir(parents=True)
        database.touch(0o600)
        node.launch()
        self.assertEqual(node.ended(), 1)
        self.assertIn(f"which could read the keys of the authorities in {database.parent}. Run auth as", node.log)
        self.assertEqual(database.stat().st_uid, 0)

    def test_other_anchors(self) -> None:
        """What an administrator takes out of the file opens nothing, whatever the worker believes."""
        path = self.node.data_dir.with_name("data.monitor") / "authorities"
        before = path.read_text()
        path.write_text("# nobody\n")
        self.addCleanup(path.write_text, before)
        done = dora().ssh(f"{self.login}@web1", "true")
        self.assertEqual(done.code, 255)
        self.assertIn("is signed by an authority that is not trusted here", done.complaint)


class RestartTests(NodeCase):
    """Sessions outlive the service that they came through."""

    def test_restart_inside_a_session(self) -> None:
        """A script that restarts the node runs to its end in a session through that node."""
        old = self.worker()
        main = self.main()
        waiting = f"while [ -e /proc/{main}/exe ]; do sleep 0.1; done"
        script = f"kill -TERM {main}; {waiting}; echo stopped; cat; echo over"
        words = ("-F", str(dora().jump_config), "-tt", "root@web1", script)
        with Terminal(require("ssh", "openssh-client"), *words) as terminal:
            terminal.read_until(b"stopped")
            self.node.ended()
            self.node.start()
            eventually(lambda: dora().ssh(f"{self.login}@web1", "true").code == 0, "the new worker serves")
            self.assertNotEqual(self.worker(), old)
            terminal.type("still here\n\x04")
            terminal.read_until(b"still here\r\nover")
            self.assertEqual(terminal.ended(), 0)
        eventually(lambda: not alive(old), "the old worker ends with its last session")

    def test_hang_up(self) -> None:
        """SIGHUP starts a new worker; the supervisor stays, and no connection is refused meanwhile."""
        main, old = self.main(), self.worker()
        with Terminal(
            require("ssh", "openssh-client"), "-F", str(dora().jump_config), "-tt", "root@web1", "echo on; cat"
        ) as terminal:
            terminal.read_until(b"on\r\n")
            os.kill(main, signal.SIGHUP)
            eventually(lambda: len(children(main)) > 2 and self.new_worker(old), "another worker")
            check(dora().ssh(f"{self.login}@web1", "true"))
            terminal.type("still here\n\x04")
            terminal.read_until(b"still here")
            self.assertEqual(terminal.ended(), 0)
        eventually(lambda: not alive(old), "the old worker ends with its last session")
        self.assertEqual(self.main(), main)

    def test_53_lock_after_hang_up(self) -> None:
        """A worker that has let another take over still hears of locks, and cuts off who is left there."""
        main, old = self.main(), self.worker()
        frank = cluster().person("frank", (self.login,))
        words = ("-F", str(frank.jump_config), "-tt", f"{self.login}@web1", "echo on; cat")
        with Terminal(require("ssh", "openssh-client"), *words) as terminal:
            terminal.read_until(b"on\r\n")
            os.kill(main, signal.SIGHUP)
            eventually(lambda: len(children(main)) > 2 and self.new_worker(old), "another worker")
            eventually(lambda: frank.ssh(f"{self.login}@web1", "true").code == 0, "it serves")
            # Not for the proxy, which would cut off the way to the node.
            check(cluster().tctl("lock", "--user=frank", f"--login={self.login}", "--message=gone"))
            terminal.read_until(b"locked by an administrator (gone)")
            self.assertEqual(terminal.ended(), 255)
        eventually(lambda: not alive(old), "the old worker ends with its last session")

    def test_killed_worker(self) -> None:
        """Another takes its place."""
        old = self.worker()
        os.kill(old, signal.SIGKILL)
        eventually(lambda: self.new_worker(old), "another worker")
        eventually(lambda: dora().ssh(f"{self.login}@web1", "true").code == 0, "it serves")

    def test_killed_supervisor(self) -> None:
        """Its worker serves those who are there, and nobody else; another supervisor starts."""
        old = self.worker()
        with Terminal(
            require("ssh", "openssh-client"), "-F", str(dora().jump_config), "-tt", "root@web1", "echo on; cat"
        ) as terminal:
            terminal.read_until(b"on\r\n")
            self.node.kill()
            self.node.start()
            cluster().know("web1")
            eventually(lambda: dora().ssh(f"{self.login}@web1", "true").code == 0, "the new worker serves")
            terminal.type("still here\n\x04")
            terminal.read_until(b"still here")
            self.assertEqual(terminal.ended(), 0)
        eventually(lambda: not alive(old), "the old worker ends with its last session")

    def test_port_in_use(self) -> None:
        """A second one says who has the port, and starts nobody."""
        other = node(cluster())
        other.settings["ssh_service"] = {**other.settings["ssh_service"], "listen_addr": f"127.0.0.1:{self.node.port}"}
        other.launch()
        self.assertEqual(other.ended(), 1)
        self.assertIn("it is in use by", other.log)
        cluster().nodes["web1"] = self.node
