"""Ansible through the proxy: pipelining on and off, and each way that it has to move files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.interop.accounts import guest_account, is_root, may_sudo
from tests.interop.case import InteropTests
from tests.interop.cluster import LOGIN
from tests.interop.person import Person
from tests.interop.programs import check, environment, run
from tests.interop.requirements import require
from tests.interop.shared import alice

SIZE = 1_000_000
TIME_LIMIT_S = 240.0
WAYS: Mapping[str, Mapping[str, object]] = {
    "sftp": {"ansible_ssh_transfer_method": "sftp", "ansible_pipelining": False},
    "scp": {"ansible_ssh_transfer_method": "scp", "ansible_scp_extra_args": "-O", "ansible_pipelining": False},
    "piped": {"ansible_ssh_transfer_method": "piped", "ansible_pipelining": False},
    "pipelined": {"ansible_pipelining": True},
}
"""One host for each, by the names of the test; all of them are the node ``web1``."""


class AnsibleCase(InteropTests):
    """A playbook that runs a command, copies a file there, and fetches it again."""

    def setUp(self) -> None:
        self.program = require("ansible-playbook", "ansible-core")
        folder = TemporaryDirectory(prefix="_a")  # a short name, as it holds sockets
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.folder.chmod(0o711)
        self.data = os.urandom(SIZE)
        (self.folder / "sent").write_bytes(self.data)
        (self.folder / "ansible.cfg").touch()

    def person(self) -> Person:
        return alice()

    def host(self, name: str, login: str, variables: Mapping[str, object]) -> Mapping[str, object]:
        """A host of the inventory, with a folder of its own that belongs to the login."""
        there = self.folder / name
        there.mkdir()
        if login != LOGIN:
            os.chown(there, guest_account().pw_uid, guest_account().pw_gid)
        usual = {
            "ansible_host": "web1",
            "ansible_user": login,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_control_path": str(self.folder / f"{name}.mux"),
            "ansible_remote_tmp": str(there),
        }
        return usual | dict(variables)

    def play(self, hosts: Mapping[str, Mapping[str, object]], *more: dict[str, object]) -> str:
        """What is said in the play; fails where anything fails on any of the hosts."""
        copy = "{{ ansible_remote_tmp }}/copy"
        back = f"{self.folder}/{{{{ inventory_hostname }}}}.back"
        tasks: list[dict[str, object]] = [
            {"ansible.builtin.command": "echo said by {{ inventory_hostname }}"},
            {"ansible.builtin.copy": {"src": str(self.folder / "sent"), "dest": copy, "mode": "0640"}},
            {"ansible.builtin.fetch": {"src": copy, "dest": back, "flat": True}},
            *more,
        ]
        (self.folder / "playbook").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        (self.folder / "inventory.yaml").write_text(yaml.safe_dump({"all": {"hosts": dict(hosts)}}))
        env = environment(
            ANSIBLE_CONFIG=str(self.folder / "ansible.cfg"),
            ANSIBLE_HOME=str(self.folder),
            ANSIBLE_LOCAL_TEMP=str(self.folder),
            ANSIBLE_SSH_COMMON_ARGS=f"-F {self.person().jump_config}",
            ANSIBLE_SSH_ARGS="-C -o ControlMaster=auto -o ControlPersist=5s",
            LC_ALL="C.UTF-8",
        )
        words = (self.program, "-i", str(self.folder / "inventory.yaml"), "-v", str(self.folder / "playbook"))
        said = check(run(*words, env=env, cwd=self.folder, timeout_s=TIME_LIMIT_S)).text
        for name in hosts:
            self.assertIn(f"said by {name}", said)
            copied = self.folder / name / "copy"
            self.assertEqual((copied.read_bytes(), copied.stat().st_mode & 0o777), (self.data, 0o640), name)
            self.assertEqual((self.folder / f"{name}.back").read_bytes(), self.data, name)
        return said


class WaysTests(AnsibleCase):
    """As the account of the tests."""

    def test_every_way(self) -> None:
        """Files by SFTP, by the ``scp`` of old and through a pipe, and modules on the standard input of Python."""
        self.play({name: self.host(name, LOGIN, variables) for name, variables in WAYS.items()})


class BecomeTests(AnsibleCase):
    """As an account that becomes another one."""

    def test_become(self) -> None:
        """As an account that becomes root by ``sudo``, with and without pipelining."""
        if not is_root():
            self.skipTest("only root can make an account that may become root")
        may_sudo()
        hosts = {
            name: self.host(name, guest_account().pw_name, {"ansible_pipelining": pipelining})
            for name, pipelining in (("become", False), ("become-pipelined", True))
        }
        said = self.play(hosts, {"ansible.builtin.command": "id -un", "become": True})
        self.assertEqual(said.count('"stdout": "root"'), 2, said)
