"""Sessions as an account that is not the service's own."""

from __future__ import annotations

import grp
import unittest

from tests.interop.accounts import GROUP, guest_account, is_root
from tests.interop.case import InteropTests
from tests.interop.programs import Done, check, run
from tests.interop.requirements import require
from tests.interop.shared import alice
from tests.interop.terminals import Terminal


class AccountTests(InteropTests):
    """A guest's sessions, on a node that runs as root."""

    def setUp(self) -> None:
        if not is_root():
            raise unittest.SkipTest("a node that is not root serves its own account only")
        self.account = guest_account()

    def ssh(self, command: str) -> Done:
        return check(alice().ssh(f"{self.account.pw_name}@web1", command))

    def test_identity(self) -> None:
        """Uid, gid and groups are all those of the account, and none of root's are left."""
        groups = sorted({self.account.pw_gid, grp.getgrnam(GROUP).gr_gid})
        self.assertEqual(self.ssh("id -u; id -g").text.split(), [str(self.account.pw_uid), str(self.account.pw_gid)])
        self.assertEqual(sorted(map(int, self.ssh("id -G").text.split())), groups)
        status = self.ssh("cat /proc/self/status").text
        fields = dict(line.split(":", 1) for line in status.splitlines())
        self.assertEqual(fields["Uid"].split(), [str(self.account.pw_uid)] * 4)
        self.assertEqual(fields["Gid"].split(), [str(self.account.pw_gid)] * 4)
        self.assertEqual([int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")], [0] * 4)

    def test_place(self) -> None:
        """Home, shell and names."""
        wanted = [self.account.pw_dir, self.account.pw_dir, "/bin/bash", self.account.pw_name]
        self.assertEqual(self.ssh("pwd; echo $HOME; echo $SHELL; whoami").text.split(), wanted)

    def test_files(self) -> None:
        """What the guest makes is the guest's, and root's files stay closed."""
        self.ssh("umask 027; echo mine > made; mkdir -p folder")
        self.assertEqual(self.ssh("stat -c '%U %a' made folder").text.split(),
                         [self.account.pw_name, "640", self.account.pw_name, "750"])  # fmt: skip
        done = alice().ssh(f"{self.account.pw_name}@web1", "cat /etc/shadow")
        self.assertNotEqual(done.code, 0)
        self.assertIn("Permission denied", done.complaint)

    def test_sftp(self) -> None:
        """``sftp-server`` runs as the guest, too."""
        sftp = require("sftp", "openssh-client")
        words = (sftp, "-q", "-F", str(alice().jump_config), "-b", "-", f"{self.account.pw_name}@web1")
        check(run(*words, stdin=b"put /etc/hostname by-sftp\n"))
        self.assertEqual(self.ssh("stat -c %U by-sftp").text.strip(), self.account.pw_name)
        self.assertNotEqual(run(*words, stdin=b"get /etc/shadow /dev/null\n").code, 0)

    def test_terminal(self) -> None:
        """The terminal belongs to the guest, and is the controlling one."""
        words = ("-F", str(alice().jump_config), "-tt", f"{self.account.pw_name}@web1")
        with Terminal(require("ssh", "openssh-client"), *words, "stat -c 'owner %U' $(tty); echo x > /dev/tty") as seen:
            self.assertEqual(seen.ended(), 0)
        self.assertIn(f"owner {self.account.pw_name}\r\nx\r\n".encode(), seen.seen)

    def test_agent(self) -> None:
        """The forwarded agent's socket is the guest's own."""
        said = check(run(require("ssh-agent", "openssh-client"), "-s")).text
        socket, pid = (line.partition("=")[2].partition(";")[0] for line in said.splitlines()[:2])
        self.addCleanup(lambda: run("kill", pid))
        done = alice().ssh("-A", "-o", f"IdentityAgent={socket}", f"{self.account.pw_name}@web1",
                           "stat -c %U $SSH_AUTH_SOCK; ssh-add -l")  # fmt: skip
        self.assertEqual(done.text.split("\n")[0], self.account.pw_name, done)
        self.assertIn("The agent has no identities.", done.text)
