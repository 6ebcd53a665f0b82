"""``twist teleport`` as root: auth, proxy and node on one event loop, as an account without rights."""

from __future__ import annotations

import os
import pwd
import signal
from functools import cache

from tests.interop.accounts import guest_account
from tests.interop.cluster import CLUSTER_NAME, LOGIN, Cluster
from tests.interop.person import Person
from tests.interop.programs import check, eventually
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, Service, free_port
from tests.interop.terminals import Terminal
from tests.interop.workers import ACCOUNT, WorkerCase, alive, children, supervised, uid


@cache
def cluster() -> Cluster:
    """One host, which is all of it."""
    made = Cluster()
    made.folder.chmod(0o711)
    made.auth = made.proxy = made.nodes["web1"] = supervised(everything(made))
    made.auth.start().says(f"Teleport is served by the account {ACCOUNT}.")
    made.know("web1")
    return made


def everything(made: Cluster) -> Service:
    folder = made.folder / "all"
    settings: dict[str, dict[str, object]] = {
        "teleport": {"nodename": "web1", "data_dir": str(folder / "data"), "advertise_ip": LOCALHOST},
        "auth_service": {"listen_addr": f"{LOCALHOST}:{made.auth_port}", "cluster_name": CLUSTER_NAME,
                         "heartbeat_interval": "1s"},
        "proxy_service": {
            "listen_addr": f"{LOCALHOST}:{made.proxy_port}",
            "web_listen_addr": f"{LOCALHOST}:{made.web_port}",
        },
        "ssh_service": {"listen_addr": f"{LOCALHOST}:{free_port()}"},
    }  # fmt: skip
    return Service("all", "teleport", folder, settings, made.proxy_port)


@cache
def dora() -> Person:
    return cluster().person("dora", (guest_account().pw_name, LOGIN))


class ProcessTests(WorkerCase):
    def setUp(self) -> None:
        super().setUp()
        self.service = cluster().auth

    def test_accounts(self) -> None:
        """One process has all the services, and none of root's rights; a monitor beside it starts the sessions."""
        main = self.main()
        worker = self.worker()
        beside = [uid(pid) for pid in children(main) if pid != worker and alive(pid)]
        self.assertEqual((uid(main), beside), (0, [0]))
        self.assertEqual(self.service.data_dir.stat().st_uid, pwd.getpwnam(ACCOUNT).pw_uid)
        for login in (guest_account().pw_name, "root"):
            self.assertEqual(check(dora().ssh(f"{login}@web1", "id -un")).text.strip(), login)

    def test_shared_keys(self) -> None:
        """It is said what one process for all means."""
        self.service.says("Auth runs in one process with what speaks SSH: whoever captured that would have the keys")

    def test_hang_up(self) -> None:
        """SIGHUP exchanges all of it, auth too; a session goes on, and its end is told to the auth that came after."""
        main, old = self.main(), self.worker()
        words = ("-F", str(dora().jump_config), "-tt", "root@web1", "echo on; cat")
        with Terminal(require("ssh", "openssh-client"), *words) as terminal:
            terminal.read_until(b"on\r\n")
            before = len(cluster().events("session.end"))
            os.kill(main, signal.SIGHUP)
            eventually(lambda: self.new_worker(old), "another worker")
            check(dora().ssh(f"{guest_account().pw_name}@web1", "true"))
            self.assertEqual(cluster().status()["cluster_name"], CLUSTER_NAME)
            terminal.type("still here\n\x04")
            terminal.read_until(b"still here")
            self.assertEqual(terminal.ended(), 0)
        eventually(lambda: not alive(old), "the old worker ends with its last client")
        eventually(lambda: len(cluster().events("session.end")) > before, "the end of the session is told")
        self.assertEqual(self.main(), main)


class AuthTests(WorkerCase):
    def test_auth_alone(self) -> None:
        """Auth by itself is no process of root's either; a storage outside of ``data_dir`` becomes the account's."""
        made = Cluster()
        made.folder.chmod(0o711)
        storage = made.folder / "state"
        made.auth.settings["teleport"]["storage"] = {"type": "sqlite", "path": str(storage)}
        made.auth.settings["auth_service"]["tokens"] = []
        self.service = supervised(made.auth).start()
        self.service.says(f"Auth is served by the account {ACCOUNT}.")
        account = pwd.getpwnam(ACCOUNT).pw_uid
        owners = [path.stat().st_uid for path in (storage, *storage.iterdir(), made.auth.data_dir)]
        self.assertEqual(set(owners), {account})
        self.assertEqual([uid(pid) for pid in children(self.main())], [account])
        self.assertEqual(made.status()["cluster_name"], CLUSTER_NAME)
        old = self.worker()
        os.kill(self.main(), signal.SIGHUP)
        eventually(lambda: not alive(old), "the old one has ended")
        self.assertEqual(made.status()["cluster_name"], CLUSTER_NAME)
        made.stop()
