"""``tsh`` on a cluster of three processes: nodes listed and reached, by OpenSSH and without it, and files copied."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.interop.cluster import CLUSTER_NAME, LOGIN, at
from tests.interop.openssh_server import start_agent
from tests.interop.programs import check, eventually, installed, run
from tests.interop.requirements import require
from tests.interop.services import LOCALHOST, answers, free_port, temporary_folder
from tests.interop.tsh import invited, reference_in
from tests.interop.tsh_case import TshCase, without_openssh


class ListTests(TshCase):
    def test_table(self) -> None:
        """Names, addresses and labels, sorted by names."""
        lines = self.alice.tsh("ls").text.splitlines()
        self.assertEqual(lines[0].split(), ["Node", "Name", "Address", "Labels"])
        self.assertEqual([line.split()[0] for line in lines[2:]], ["web1", "web2"])
        self.assertTrue(lines[2].endswith("env=prod, tier=web"))

    def test_chosen(self) -> None:
        """By labels, and by what is searched for."""
        self.assertEqual(self.alice.tsh("ls", "-f", "names", "env=prod").text, "web1\n")
        self.assertEqual(self.alice.tsh("ls", "-f", "names", "tier=web,env=test").text, "web2\n")
        self.assertEqual(self.alice.tsh("ls", "-f", "names", "--search=WEB2").text, "web2\n")
        self.assertEqual(self.alice.tsh("ls", "-f", "names", "env=nothing").text, "")

    def test_json(self) -> None:
        found = json.loads(self.alice.tsh("ls", "-f", "json").text)
        self.assertEqual([at(node, "spec", "hostname") for node in found], ["web1", "web2"])

    def test_terminal(self) -> None:
        """A line is as wide as the terminal at most."""
        with self.alice.in_shell("stty cols 43; tsh ls") as terminal:
            self.assertEqual(terminal.ended(), 0)
        self.assertLessEqual(max(len(line.rstrip()) for line in terminal.seen.decode().splitlines()), 43)

    def test_colours(self) -> None:
        """Heads are bold on a terminal, and a line is as wide as without."""
        with self.alice.on_terminal("ls", NO_COLOR="") as terminal:
            self.assertEqual(terminal.ended(), 0)
        self.assertIn(b"\x1b[1mNode Name", terminal.seen)
        with self.alice.on_terminal("ls", "--proxy=x y", NO_COLOR="") as terminal:
            self.assertEqual(terminal.ended(), 1)
        self.assertTrue(terminal.seen.startswith(b"\x1b[31merror:\x1b[0m "), terminal.seen)

    def test_clusters(self) -> None:
        self.assertEqual(self.alice.tsh("clusters", "-q").text, f"{CLUSTER_NAME} online\n")


class SshTests(TshCase):
    """With OpenSSH's client."""

    variables: dict[str, str] = {}

    def ssh(self, *words: str, stdin: bytes = b"", code: int = 0) -> str:
        return self.alice.tsh("ssh", *words, stdin=stdin, code=code, env=self.variables).text

    def test_command(self) -> None:
        """Output, input and status, by name, by UUID, by label and by the name with the cluster's."""
        uuid = self.cluster.nodes["web1"].host_uuid
        for target in ("web1", f"{LOGIN}@web1", uuid, f"web1.{CLUSTER_NAME}", f"{LOGIN}@env=prod"):
            self.assertEqual(self.ssh(target, "echo", "hello").splitlines()[-1][-5:], "hello")
        self.assertEqual(self.ssh("web1", "cat; exit 7", stdin=b"input", code=7), "input")

    def test_terminal(self) -> None:
        """A shell on the terminal, in its size."""
        with self.alice.on_terminal("ssh", "web1", **self.variables) as terminal:
            terminal.type("echo size $(stty size); exit 3\r")
            terminal.read_until(b"size 24 80")
            self.assertEqual(terminal.ended(), 3)

    def test_escapes(self) -> None:
        """``~.`` ends the connection, unless it is to be a letter like any other."""
        with self.alice.on_terminal("ssh", "web1", **self.variables) as terminal:
            terminal.type("echo rea''dy\r")
            terminal.read_until(b"ready")
            terminal.type("\r~.")
            self.assertNotEqual(terminal.ended(), 3)
        with self.alice.on_terminal("ssh", "--no-enable-escape-sequences", "web1", **self.variables) as terminal:
            terminal.type("echo rea''dy\r")
            terminal.read_until(b"ready")
            terminal.type("\r~.\recho st''ill; exit 3\r")
            terminal.read_until(b"still")
            self.assertEqual(terminal.ended(), 3)

    def test_nowhere(self) -> None:
        """A node that is none is said to be none."""
        done = self.alice.tsh("ssh", "nowhere", "true", code=255 if not self.variables else 1, env=self.variables)
        self.assertIn("nowhere", done.complaint)

    def test_ambiguous(self) -> None:
        """Of two nodes with one address none is taken; both are shown."""
        done = self.alice.tsh("ssh", LOCALHOST, "true", code=1, env=self.variables)
        self.assertIn(f"error: {LOCALHOST} may be any of these nodes: say which by its ID (tsh ssh ", done.complaint)
        for name in ("web1", "web2"):
            self.assertIn(self.cluster.nodes[name].host_uuid, done.complaint)

    def test_another_login(self) -> None:
        """The node refuses an account that no role names, and the reference leads to the reasons."""
        done = self.alice.tsh("ssh", "nobody-at-all@web1", "true", code=255 if not self.variables else 1,
                              env=self.variables)  # fmt: skip
        reference = reference_in(done.complaint)
        found = self.cluster.tctl("why", "--ref", reference).text
        self.assertIn("The certificate is not for 'nobody-at-all'.", found)


class OwnClientTests(SshTests):
    """The same where there is no OpenSSH."""

    def setUp(self) -> None:
        super().setUp()
        self.variables = {"PATH": without_openssh()}

    def test_options(self) -> None:
        """Some are honoured, others warned of, and no host goes unverified."""
        words = ("-o", "RequestTTY=force", "-o", "ConnectTimeout=5", "web1", "tty")
        done = self.alice.tsh("ssh", *words, env=self.variables)
        self.assertIn("/dev/", done.text)
        self.assertIn("Option 'ConnectTimeout' is not supported here.\n", done.complaint)
        refused = self.alice.tsh("ssh", "-oStrictHostKeyChecking=no", "web1", "true", code=1, env=self.variables)
        self.assertIn("error: StrictHostKeyChecking is 'yes' here", refused.complaint)


class ManyTests(TshCase):
    variables: dict[str, str] = {}

    def test_output(self) -> None:
        """Each line has the name of its node before it; the status is the highest."""
        done = self.alice.tsh("ssh", "tier=web", "echo one; echo two >&2; exit 4", code=4, env=self.variables)
        self.assertEqual(sorted(done.text.splitlines()), ["web1 | one", "web2 | one"])
        self.assertIn("web2 | two", done.complaint)
        self.assertIn("Running on 2 nodes: web1, web2", done.complaint)

    def test_none(self) -> None:
        done = self.alice.tsh("ssh", "tier=none", "true", code=1)
        self.assertIn("error: There is no node tier=none that you may log in to", done.complaint)


class OwnClientOnManyTests(ManyTests):
    """The same where there is no OpenSSH."""

    def setUp(self) -> None:
        super().setUp()
        self.variables = {"PATH": without_openssh()}


class ForwardTests(TshCase):
    def test_local(self) -> None:
        """``-N -L`` leads to a port that the node reaches."""
        port = free_port()
        words = ("ssh", "-N", "-L", f"{port}:{LOCALHOST}:{self.cluster.auth_port}", "web1")
        with self.alice.on_terminal(*words):
            eventually(lambda: answers(port), "the port answers")


class JumpTests(TshCase):
    """The SSH port of the proxy by another name, for which its certificate is not."""

    variables: dict[str, str] = {}

    def test_jump(self) -> None:
        jump = f"-Jsomebody@localhost:{self.cluster.proxy_port}"
        self.assertEqual(self.alice.tsh("ssh", jump, "web1", "echo there", env=self.variables).text, "there\n")
        (self.here / "file").write_text("copied")
        self.alice.tsh("scp", jump, str(self.here / "file"), f"web1:{self.there}/copy", env=self.variables)
        self.assertEqual((self.there / "copy").read_text(), "copied")

    def test_nobody(self) -> None:
        """It is that name which is used, and no other."""
        done = self.alice.tsh(
            "ssh", f"-J{LOCALHOST}:{free_port()}", "web1", "true", code=self.failure, env=self.variables
        )
        self.assertIn("Connection refused", done.complaint)

    @property
    def failure(self) -> int:
        return 1 if self.variables else 255


class OwnClientJumpTests(JumpTests):
    """The same where there is no OpenSSH."""

    def setUp(self) -> None:
        super().setUp()
        self.variables = {"PATH": without_openssh()}


class CopyTests(TshCase):
    """``tsh scp`` by OpenSSH's."""

    variables: dict[str, str] = {}

    def scp(self, *words: str, code: int = 0) -> str:
        return self.alice.tsh("scp", *words, code=code, env=self.variables).complaint

    def test_both_ways(self) -> None:
        """A file there, and a folder back, with times and modes."""
        data = os.urandom(3_000_000)
        (self.here / "a file").write_bytes(data)
        (self.here / "a file").chmod(0o640)
        os.utime(self.here / "a file", (1_600_000_000, 1_600_000_000))
        self.scp("-p", str(self.here / "a file"), f"web1:{self.there}/copy")
        copied = self.there / "copy"
        self.assertEqual(copied.read_bytes(), data)
        self.assertEqual((copied.stat().st_mode & 0o777, int(copied.stat().st_mtime)), (0o640, 1_600_000_000))
        (self.there / "inner").mkdir()
        (self.there / "inner" / "deep").write_text("deep")
        self.scp("-r", "-q", f"{LOGIN}@web1:{self.there}", str(self.here / "back"))
        self.assertEqual((self.here / "back" / "copy").read_bytes(), data)
        self.assertEqual((self.here / "back" / "inner" / "deep").read_text(), "deep")

    def test_folder_there(self) -> None:
        """A folder into one that is there, and several files at once."""
        (self.here / "tree" / "leaf").mkdir(parents=True)
        for name in ("one", "two", "tree/leaf/three"):
            (self.here / name).write_text(name)
        self.scp("-r", str(self.here / "one"), str(self.here / "two"), str(self.here / "tree"), f"web1:{self.there}")
        for name in ("one", "two", "tree/leaf/three"):
            self.assertEqual((self.there / name).read_text(), name)

    def test_missing(self) -> None:
        """What is not there, here or on the node, is named."""
        for words, name in (
            ((str(self.here / "nothing-here"), "web1:"), "nothing-here"),
            (("web1:/nothing-there", str(self.here)), "nothing-there"),
        ):
            done = run(installed("tsh"), "scp", *words, env=self.alice.environment(**self.variables))
            self.assertNotEqual(done.code, 0)
            self.assertIn(name, done.complaint)


class OwnCopyTests(CopyTests):
    """The same where there is no OpenSSH."""

    def setUp(self) -> None:
        super().setUp()
        self.variables = {"PATH": without_openssh()}

    def test_progress(self) -> None:
        """On a terminal each file has its line."""
        (self.here / "shown").write_bytes(os.urandom(100_000))
        with self.alice.on_terminal(
            "scp", str(self.here / "shown"), f"web1:{self.there}", **self.variables
        ) as terminal:
            terminal.read_until(b"100%  100.0 KB")
            self.assertEqual(terminal.ended(), 0)

    def test_folder_without_r(self) -> None:
        self.assertIn("is a folder; -r copies folders.", self.scp(str(self.here), "web1:", code=1))
        self.assertIn("is a folder; -r copies folders.", self.scp(f"web1:{self.there}", str(self.here), code=1))


class ConfigTests(TshCase):
    """What ``tsh config`` prints, given to programs that know nothing of ``tsh``."""

    def config(self) -> Path:
        path = self.here / "ssh_config"
        path.write_text(self.alice.tsh("config").text)
        return path

    def run_with(self, *words: str, stdin: bytes = b"", **more: str) -> str:
        return check(run(*words, stdin=stdin, env=self.alice.environment(**more))).text

    def test_ssh_scp_sftp(self) -> None:
        config, host = ("-F", str(self.config())), self.alice.host("web1")
        ssh = require("ssh", "openssh-client")
        self.assertEqual(self.run_with(ssh, *config, f"{LOGIN}@{host}", "echo there").strip(), "there")
        (self.here / "file").write_text("by scp")
        self.run_with(
            require("scp", "openssh-client"), "-q", *config, str(self.here / "file"), f"{host}:{self.there}/1"
        )
        batch = f"put {self.here}/file {self.there}/2\n".encode()
        self.run_with(require("sftp", "openssh-client"), "-q", *config, "-b", "-", host, stdin=batch)
        self.assertEqual([(self.there / name).read_text() for name in "12"], ["by scp", "by scp"])

    def test_rsync(self) -> None:
        (self.here / "tree").mkdir()
        (self.here / "tree" / "leaf").write_text("by rsync")
        shell = f"ssh -F {self.config()}"
        target = f"{self.alice.host('web1')}:{self.there}/"
        self.run_with(require("rsync", "rsync"), "-a", "-e", shell, f"{self.here}/tree", target)
        self.assertEqual((self.there / "tree" / "leaf").read_text(), "by rsync")

    def test_git(self) -> None:
        git = require("git", "git")
        for words in (("init", "-q", "."), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q",
                                            "--allow-empty", "-m", "one")):  # fmt: skip
            self.run_with(git, "-C", str(self.there), *words, GIT_CONFIG_GLOBAL=os.devnull)
        url = f"{LOGIN}@{self.alice.host('web2')}:{self.there}"
        shell = f"ssh -F {self.config()}"
        self.run_with(git, "clone", "-q", url, str(self.here / "clone"), GIT_SSH_COMMAND=shell)
        self.assertIn("one", self.run_with(git, "-C", str(self.here / "clone"), "log", "--oneline"))

    def test_ansible(self) -> None:
        """On both nodes, by nothing but the file."""
        program = require("ansible", "ansible-core")
        (self.here / "hosts").write_text("".join(f"{self.alice.host(name)}\n" for name in ("web1", "web2")))
        (self.here / "ansible.cfg").touch()
        said = self.run_with(
            *(program, "all", "-i", str(self.here / "hosts"), "-u", LOGIN, "-m", "command", "-a", "echo by ansible"),
            ANSIBLE_CONFIG=str(self.here / "ansible.cfg"),
            ANSIBLE_HOME=str(self.here),
            ANSIBLE_SSH_ARGS=f"-F {self.config()}",
            ANSIBLE_PYTHON_INTERPRETER="/usr/bin/python3",
            LC_ALL="C.UTF-8",
        )
        self.assertEqual(said.count("by ansible"), 2, said)


class AgentTests(TshCase):
    def test_keys_in_an_agent(self) -> None:
        """A login puts the certificate into the agent, and a logout takes it out again."""
        who = invited(self.cluster, "with-agent")
        who.variables["SSH_AUTH_SOCK"] = str(start_agent(self, temporary_folder()))
        who.log_in_pinned()
        listed = check(run(require("ssh-add", "openssh-client"), "-l", env=who.environment())).text
        self.assertIn("teleport:with-agent (ECDSA-CERT)", listed)
        who.tsh("logout")
        self.assertNotIn("teleport:", run("ssh-add", "-l", env=who.environment()).text)

    def test_agent_that_is_none(self) -> None:
        """Nobody answers at SSH_AUTH_SOCK: a note, and the login is made."""
        who = invited(self.cluster, "dead-agent")
        who.variables["SSH_AUTH_SOCK"] = str(self.here / "nobody")
        self.assertIn("note: the ssh-agent does not hold the key", who.log_in_pinned())
        who.tsh("ls")


class VariableTests(TshCase):
    def test_environment(self) -> None:
        """Variables say which proxy, user and login; a flag says it louder."""
        who = self.alice
        variables = {"TELEPORT_PROXY": who.proxy, "TELEPORT_USER": "alice", "TELEPORT_SITE": CLUSTER_NAME}
        self.assertIn("Logged in as: alice", who.tsh("login", env=variables).text)
        done = who.tsh("ls", env={"TELEPORT_USER": "bob"}, code=1)
        self.assertIn("error: alice is logged in at 127.0.0.1, and not bob.", done.complaint)
        self.assertIn("error: ", who.tsh("ls", env={"TELEPORT_SITE": "elsewhere"}, code=1).complaint)
        who.tsh("ssh", "web1", "id", "-un", env={"TELEPORT_LOGIN": "nobody-at-all"}, code=255)
        self.assertEqual(who.tsh("-l", LOGIN, "ssh", "web1", "id -un", env={"TELEPORT_LOGIN": "x"}).text, f"{LOGIN}\n")

    def test_called_ssh_and_scp(self) -> None:
        """A link to ``tsh`` that is called ``ssh`` or ``scp`` behaves as that command."""
        for name in ("ssh", "scp"):
            (self.here / name).symlink_to(installed("tsh"))
        env = self.alice.environment()
        self.assertEqual(check(run(str(self.here / "ssh"), "web1", "echo called", env=env)).text, "called\n")
        (self.here / "file").write_text("called")
        check(run(str(self.here / "scp"), str(self.here / "file"), f"web1:{self.there}/copy", env=env))
        self.assertEqual((self.there / "copy").read_text(), "called")


class LogoutTests(TshCase):
    def test_logout(self) -> None:
        """Afterwards nobody is logged in, and no key is left."""
        who = invited(self.cluster, "leaving")
        who.log_in_pinned()
        who.tsh("logout")
        self.assertIn("Not logged in.", who.tsh("status", code=1).text)
        self.assertEqual([path.name for path in who.keys.iterdir()], ["certs.pem"])
        self.assertIn("error: Not logged in", who.tsh("ls", code=1).complaint)
