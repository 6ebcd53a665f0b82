"""More than one thing on one connection: forwarded ports, the agent, shared connections, and many people at once."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.interop.accounts import guest_account, is_root
from tests.interop.case import InteropTests
from tests.interop.certificates import signed_by_cluster
from tests.interop.person import Person, background
from tests.interop.programs import DEADLINE_S, Done, check, environment, eventually, run
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, answers, free_port
from tests.interop.shared import alice, open_alice, open_cluster, quiet_cluster

MANY = 50
OTHER = "127.0.0.2"
"""An address of this host that is neither 127.0.0.1 nor reached from elsewhere."""


class Answering:
    """A TCP server that reads to the end of what comes, and only then answers how much it was."""

    def __init__(self) -> None:
        self._socket = socket.create_server((LOCALHOST, 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                size = 0
                while data := connection.recv(65536):
                    size += len(data)
                connection.sendall(f"{size} bytes\n".encode())

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def start_agent(case: InteropTests) -> str:
    """The socket of an agent that ends with the test."""
    said = check(run(require("ssh-agent", "openssh-client"), "-s")).text
    path, pid = (found[1] for found in map(re.compile(r"=([^;]+);").search, said.splitlines()[:2]) if found)
    case.addCleanup(lambda: run("kill", pid))
    return path


def socks(port: int, host: str, target: int) -> socket.socket:
    """A connection by SOCKS 5 (RFC 1928), without a login, to a host by its name."""
    client = socket.create_connection((LOCALHOST, port), DEADLINE_S)
    client.sendall(b"\5\1\0")
    assert client.recv(2, socket.MSG_WAITALL) == b"\5\0"
    client.sendall(b"\5\1\0\3" + bytes([len(host)]) + host.encode() + target.to_bytes(2, "big"))
    assert client.recv(10, socket.MSG_WAITALL)[:2] == b"\5\0"
    return client


class PersonCase(InteropTests):
    def person(self) -> Person:
        """Whose connections these are."""
        return alice()


class PortTests(PersonCase):
    """``-L``, ``-D`` and ``-W``: connections from the node."""

    def forward(self, target: int) -> tuple[int, subprocess.Popen[bytes]]:
        """An ``ssh -L`` to this port, on the port that is answered."""
        port = free_port()
        return port, self.listening(port, "-L", f"{LOCALHOST}:{port}:{LOCALHOST}:{target}")

    def listening(self, port: int, *words: str) -> subprocess.Popen[bytes]:
        """An ``ssh`` that listens on a port of its own."""
        stack = ExitStack()
        self.addCleanup(stack.close)
        ssh = stack.enter_context(background("-F", str(self.person().jump_config), "-N", *words, "web1"))
        eventually(lambda: answers(port), f"ssh listens on {port}")
        return ssh

    def test_request_and_answer(self) -> None:
        """Who has said everything can still hear the answer: each direction ends for itself."""
        server = Answering()
        self.addCleanup(server.close)
        port, _ = self.forward(server.port)
        for size in (0, 5, 3_000_000):
            with socket.create_connection((LOCALHOST, port), DEADLINE_S) as client:
                client.sendall(b"x" * size)
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(client.makefile("rb").read(), f"{size} bytes\n".encode())

    def test_socks(self) -> None:
        """``ssh -D``: each connection says where it wants to go, by name if it likes."""
        server, port = Answering(), free_port()
        self.addCleanup(server.close)
        self.listening(port, "-D", f"{LOCALHOST}:{port}")
        for host in (LOCALHOST, "localhost"):
            with socks(port, host, server.port) as client:
                client.sendall(b"x" * 3_000_000)
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(client.makefile("rb").read(), b"3000000 bytes\n")

    def test_refused_target(self) -> None:
        """Where nobody listens, the connection ends, and ssh says why."""
        nobody = free_port()
        port, ssh = self.forward(nobody)
        with socket.create_connection((LOCALHOST, port), DEADLINE_S) as client:
            self.assertEqual(client.recv(1), b"")
        assert ssh.stderr is not None
        said = eventually(ssh.stderr.readline, "ssh says something").decode()
        self.assertIn("open failed: connect failed", said)

    def test_stdio(self) -> None:
        """``ssh -W`` to a port of the node's network."""
        server = Answering()
        self.addCleanup(server.close)
        done = self.person().ssh("-W", f"{LOCALHOST}:{server.port}", "web1", stdin=b"hello")
        self.assertEqual((done.text, done.code), ("5 bytes\n", 0), done)


class RemoteCase(PersonCase):
    def setUp(self) -> None:
        self.server = Answering()
        self.addCleanup(self.server.close)

    def counted(self, client: socket.socket, size: int = 3_000_000) -> str:
        """What is answered to so many bytes once we have said that there are no more."""
        with client:
            client.settimeout(DEADLINE_S)
            client.sendall(b"x" * size)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read().decode()

    def running(self, *words: str) -> subprocess.Popen[bytes]:
        stack = ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(background("-F", str(self.person().jump_config), "-N", *words, "web1"))


class RemotePortTests(RemoteCase):
    """``-R``: connections to the client."""

    def test_any_port(self) -> None:
        """The node tells which port it has taken; it leads to the client's network, from this host alone."""
        ssh = self.running("-R", f"0:{LOCALHOST}:{self.server.port}")
        assert ssh.stderr is not None
        said = eventually(ssh.stderr.readline, "ssh says which port").decode()
        found = re.search(r"Allocated port (\d+) for remote forward", said)
        assert found is not None, said
        for address in (LOCALHOST, "::1"):
            answer = self.counted(socket.create_connection((address, int(found[1])), DEADLINE_S))
            self.assertEqual(answer, "3000000 bytes\n")

    def test_a_port_and_its_end(self) -> None:
        """A port that is named, and the end of it when the client goes."""
        port = free_port()
        ssh = self.running("-R", f"{port}:{LOCALHOST}:{self.server.port}")
        eventually(lambda: answers(port), f"the node listens on {port}")
        self.assertEqual(self.counted(socket.create_connection((LOCALHOST, port), DEADLINE_S), 5), "5 bytes\n")
        ssh.terminate()
        eventually(lambda: not answers(port), f"nobody listens on {port}")

    def test_unix_sockets(self) -> None:
        """A socket of the node leads to the client, and one of the client to the node; the login owns what is made."""
        with TemporaryDirectory(prefix="_c") as folder:
            there, here = f"{folder}/there", f"{folder}/here"
            ssh = self.running("-R", f"{there}:{LOCALHOST}:{self.server.port}", "-L", f"{here}:{there}")
            eventually(lambda: os.path.exists(there) and os.path.exists(here), "both sockets are there")
            self.assertEqual(stat.S_IMODE(os.lstat(there).st_mode), 0o600)
            for path in (there, here):
                client = socket.socket(socket.AF_UNIX)
                client.connect(path)
                self.assertEqual(self.counted(client), "3000000 bytes\n")
            ssh.terminate()
            eventually(lambda: not os.path.exists(there), "the node takes its socket away")

    def test_rights_of_the_login(self) -> None:
        """A socket that the login may not reach is not reached, although the service could."""
        if not is_root():
            self.skipTest("Only root has other accounts to log in as.")
        guest = guest_account().pw_name
        with TemporaryDirectory(prefix="_c") as folder:
            server = socket.socket(socket.AF_UNIX)
            self.addCleanup(server.close)
            server.bind(f"{folder}/root")
            server.listen()
            ssh = self.running("-l", guest, "-L", f"{folder}/here:{folder}/root")
            eventually(lambda: os.path.exists(f"{folder}/here"), "ssh listens")
            client = socket.socket(socket.AF_UNIX)
            client.connect(f"{folder}/here")
            self.assertEqual(self.counted(client, 0), "")
            assert ssh.stderr is not None
            said = eventually(ssh.stderr.readline, "ssh says something").decode()
            self.assertIn(f"{folder}/root cannot be reached: Permission denied.", said)
            forward = ("-o", "ExitOnForwardFailure=yes", "-R", f"{folder}/new:{LOCALHOST}:1")
            done = self.person().ssh("-l", guest, *forward, "web1", "echo in")
            self.assertIn("remote port forwarding failed", done.complaint, done)
            self.assertEqual(sorted(os.listdir(folder)), ["here", "root"])


class GatewayTests(RemoteCase):
    """``-R`` with an address, to a node with ``gateway_ports``, and to one without."""

    def person(self) -> Person:
        return open_alice()

    def test_an_address(self) -> None:
        """The node listens where it is told to, and there alone; with ``-O cancel`` no longer."""
        port, control = free_port(), self.person().folder / Path(self.mktemp()).name
        shared = ("-S", str(control))
        self.running(*shared, "-M")
        eventually(control.exists, "the connection is there")
        forward = f"{OTHER}:{port}:{LOCALHOST}:{self.server.port}"
        check(self.person().ssh(*shared, "-O", "forward", "-R", forward, "web1"))
        self.assertEqual(self.counted(socket.create_connection((OTHER, port), DEADLINE_S), 5), "5 bytes\n")
        self.assertFalse(answers(port))
        check(self.person().ssh(*shared, "-O", "cancel", "-R", forward, "web1"))
        eventually(lambda: not answers(port, OTHER), "nobody listens there any more")

    def test_any_port_at_an_address(self) -> None:
        """``-R ADDRESS:0``: the node tells the port."""
        ssh = self.running("-R", f"{OTHER}:0:{LOCALHOST}:{self.server.port}")
        assert ssh.stderr is not None
        said = eventually(ssh.stderr.readline, "ssh says which port").decode()
        found = re.search(r"Allocated port (\d+) for remote forward", said)
        assert found is not None, said
        self.assertEqual(self.counted(socket.create_connection((OTHER, int(found[1])), DEADLINE_S), 5), "5 bytes\n")

    def test_without_an_address(self) -> None:
        """``-R PORT`` is loopback here, too: it is for the client to say more."""
        port = free_port()
        self.running("-R", f"{port}:{LOCALHOST}:{self.server.port}")
        eventually(lambda: answers(port), f"the node listens on {port}")
        self.assertFalse(answers(port, OTHER))

    def test_a_name(self) -> None:
        """Names are not looked up, and an address that is none of this host is refused; the event says why."""
        for where, why in (
            ("web1.example.com", "'web1.example.com' is no address of this host; names are not looked up."),
            ("192.0.2.1", "This host cannot listen on 192.0.2.1:0: Cannot assign requested address."),
        ):
            forward = ("-o", "ExitOnForwardFailure=yes", "-R", f"{where}:0:{LOCALHOST}:1")
            done = self.person().ssh(*forward, "web1", "echo in")
            self.assertIn("remote port forwarding failed", done.complaint, done)
            open_cluster().event("port", lambda event, why=why: event.get("error") == why, why)  # type: ignore[misc]

    def test_unless_configured(self) -> None:
        """A node that is not told so listens on loopback, whatever it is asked for."""
        port, stack = free_port(), ExitStack()
        self.addCleanup(stack.close)
        forward = f"0.0.0.0:{port}:{LOCALHOST}:{self.server.port}"
        stack.enter_context(background("-F", str(alice().jump_config), "-N", "-R", forward, "web1"))
        eventually(lambda: answers(port), f"the node listens on {port}")
        self.assertFalse(answers(port, OTHER))


class AgentTests(PersonCase):
    """``-A``."""

    def ssh(self, agent: str, *words: str) -> Done:
        ssh = require("ssh", "openssh-client")
        return run(ssh, "-F", str(self.person().jump_config), *words, env=environment(SSH_AUTH_SOCK=agent))

    def test_forwarded(self) -> None:
        """The keys of the person's agent can be used on the node, again and again, and on from there."""
        agent = start_agent(self)
        add = require("ssh-add", "openssh-client")
        check(run(add, "-q", str(self.person().key), env=environment(SSH_AUTH_SOCK=agent)))
        own = check(run(add, "-L", env=environment(SSH_AUTH_SOCK=agent))).text
        with_agent = ("-A", "-o", f"IdentityAgent={agent}")
        done = self.ssh(agent, *with_agent, "web1", "ssh-add -L; ssh-add -L; ls -ld $SSH_AUTH_SOCK")
        self.assertTrue(done.text.startswith(own + own), done)
        self.assertIn("srw-------", done.text)

    def test_only_when_asked(self) -> None:
        """Without ``-A`` there is none."""
        done = self.ssh(start_agent(self), "web1", "echo ${SSH_AUTH_SOCK-none}")
        self.assertEqual(done.text, "none\n", done)


class PermissionTests(InteropTests):
    """Certificates and accounts that do not permit what is asked for."""

    def test_port_forwarding(self) -> None:
        """A certificate without ``permit-port-forwarding`` gets no connection."""
        server = Answering()
        self.addCleanup(server.close)
        bob = signed_by_cluster(quiet_cluster(), "bob", "-O", "no-port-forwarding")
        self.assertEqual(bob.ssh("web1", "echo in").text, "in\n")
        done = bob.ssh("-W", f"{LOCALHOST}:{server.port}", "web1", stdin=b"hello")
        self.assertNotEqual(done.code, 0)
        self.assertIn("The certificate does not permit port forwarding.", done.complaint)

    def test_listening(self) -> None:
        """So with ``-R``, which ends the login where it is told to; a session alone goes on."""
        carol = signed_by_cluster(quiet_cluster(), "carol", "-O", "no-port-forwarding")
        listen = ("-R", f"0:{LOCALHOST}:22")
        done = carol.ssh("-o", "ExitOnForwardFailure=yes", *listen, "web1", "echo in")
        self.assertIn("remote port forwarding failed", done.complaint)
        self.assertEqual(done.text, "")
        self.assertEqual(carol.ssh(*listen, "web1", "echo in").text, "in\n")

    def test_agent(self) -> None:
        """Without ``permit-agent-forwarding`` there is no agent, and the session goes on."""
        agent = start_agent(self)
        carol = signed_by_cluster(quiet_cluster(), "carol", "-O", "no-agent-forwarding")
        done = carol.ssh("-A", "-o", f"IdentityAgent={agent}", "web1", "echo ${SSH_AUTH_SOCK-none}")
        self.assertEqual((done.text, done.code), ("none\n", 0), done)

    def test_low_port(self) -> None:
        """Ports below 1024 are root's."""
        if not is_root():
            self.skipTest("Only root has other accounts to log in as.")
        forward = ("-o", "ExitOnForwardFailure=yes", "-R", f"1023:{LOCALHOST}:1")
        done = alice().ssh("-l", guest_account().pw_name, *forward, "web1", "echo in")
        self.assertIn("remote port forwarding failed", done.complaint)


class ManyTests(PersonCase):
    """Much at one time."""

    many = MANY

    def test_many_logins_at_once(self) -> None:
        """Fifty people, each with a connection through the proxy."""

        def one(number: int) -> Done:
            return self.person().ssh("web1", f"echo {number}", timeout_s=2 * DEADLINE_S)

        with ThreadPoolExecutor(self.many) as pool:
            answers_ = list(pool.map(one, range(self.many)))
        wrong = [done for done in answers_ if done.code != 0]
        self.assertEqual(len(wrong), 0, "\n".join(map(str, wrong[:2])))
        self.assertEqual([done.text for done in answers_], [f"{number}\n" for number in range(self.many)])

    def shared_connection(self) -> list[str]:
        """The options by which ``ssh`` uses a connection that was made once."""
        path = self.person().folder / Path(self.mktemp()).name  # paths of sockets are short
        shared = ["-o", f"ControlPath={path}", "-o"]
        check(self.person().ssh(*shared, "ControlMaster=yes", "-o", "ControlPersist=60", "-fN", "web1"))
        self.addCleanup(lambda: self.person().ssh(*shared, "ControlMaster=no", "-O", "exit", "web1"))
        return [*shared, "ControlMaster=no"]

    def test_sessions_of_one_connection(self) -> None:
        """A ControlMaster carries several sessions at once, and none of them disturbs the others."""
        shared = self.shared_connection()
        with ThreadPoolExecutor(8) as pool:
            big = [pool.submit(self.person().ssh, *shared, "web1", "head -c 2000000 /dev/zero") for _ in range(4)]
            small = [pool.submit(self.person().ssh, *shared, "web1", f"exit {number}") for number in range(1, 5)]
            self.assertEqual([len(each.result().out) for each in big], [2_000_000] * 4)
            self.assertEqual([each.result().code for each in small], [1, 2, 3, 4])

    def test_a_slow_reader_stops_nobody_else(self) -> None:
        """Who does not read what a session writes leaves the other sessions of the connection alone."""
        shared = self.shared_connection()
        with background("-F", str(self.person().jump_config), *shared, "web1", "cat /dev/zero") as slow:
            assert slow.stdout is not None
            slow.stdout.read(1)
            self.assertEqual(self.person().ssh(*shared, "web1", "echo still here").text, "still here\n")
            self.assertEqual(self.person().ssh("web1", "echo here too").text, "here too\n")
