"""Auth beside a service whose workers have an account: its keys are not to be that account's."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.errors import AccountShared
from teleport_conch.ssh.monitor.orders import Settings
from teleport_conch.supervisor.apart import check_alone, check_apart
from teleport_conch.supervisor.plan import Plan

NOBODY = pwd.getpwnam("nobody")


class AloneTests(SynchronousTestCase):
    """What an auth server looks at, whichever of the two starts first."""

    def setUp(self) -> None:
        self.parent = Path(self.mktemp()).absolute()
        self.auth, self.node = self.parent / "auth", self.parent / "node"
        for folder in (self.auth, self.node, self.parent / "node.monitor"):
            folder.mkdir(parents=True)

    def test_same_account(self) -> None:
        refusal = self.assertRaises(AccountShared, check_alone, self.auth, os.geteuid())
        self.assertEqual(
            refusal.sentence,
            f"The node with the data_dir {self.node} speaks with the network as the account of this auth server, and"
            f" could read the keys of the authorities. Run auth as an account of its own (see"
            f" etc/systemd/teleport-auth.service). Where that node has left this host, remove {self.node}.monitor.",
        )

    def test_another_account(self) -> None:
        check_alone(self.auth, NOBODY.pw_uid)

    def test_no_such_node(self) -> None:
        """The node of the same process, which is meant so; one that is no more; and other folders."""
        check_alone(self.node, os.geteuid())
        self.node.rename(self.parent / "elsewhere")
        check_alone(self.auth, os.geteuid())
        check_alone(self.parent / "new" / "auth", os.geteuid())

    def test_closed_folder(self) -> None:
        """What may not be looked into is left alone."""

        def closed(path: object) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(os, "scandir", closed)
        check_alone(self.auth, os.geteuid())


class ApartTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.parent = Path(self.mktemp()).absolute()
        data_dir = self.parent / "node"
        data_dir.mkdir(parents=True)
        self.plan = Plan("The node", [], data_dir, data_dir / "backend", NOBODY, Settings())

    def state(self, folder: Path, *modes: int, owner: int = 0) -> Path:
        """Auth's state, with the modes of the folder that it is in, of its own folder, and of the database."""
        backend = folder / "backend"
        backend.mkdir(parents=True, exist_ok=True)
        (backend / "sqlite.db").touch()
        for path, mode in zip((folder, backend, backend / "sqlite.db"), modes or (0o700, 0o700, 0o600), strict=True):
            path.chmod(mode)
            if os.geteuid() == 0:
                os.chown(path, owner, owner)
        return backend

    def refused(self, plan: Plan) -> str:
        refusal: AccountShared = self.assertRaises(AccountShared, check_apart, plan)
        return refusal.sentence

    def test_no_auth(self) -> None:
        """Other programs have folders beside it, too."""
        (self.parent / "other" / "backend").mkdir(parents=True)
        (self.parent / "file").touch()
        check_apart(self.plan)
        check_apart(evolve(self.plan, data_dir=self.parent / "new" / "data"))

    def test_in_the_same_folder(self) -> None:
        """The folder becomes the account's, whoever owns what is in it now."""
        backend = self.state(self.plan.data_dir)
        self.assertEqual(
            self.refused(self.plan),
            f"The node speaks with the network as the account nobody, which could read the keys of the authorities in"
            f" {backend}. Run auth as an account of its own, with a data_dir of its own (see"
            f" etc/systemd/teleport-auth.service), or this service with another teleport.account. Where auth has left"
            f" this host, remove {backend}.",
        )

    def test_where_the_configuration_says(self) -> None:
        backend = self.state(self.parent / "far" / "away", 0o755, 0o755, 0o644)
        self.assertIn(f"authorities in {backend}.", self.refused(evolve(self.plan, storage=backend)))
        check_apart(self.plan)

    def test_beside(self) -> None:
        """Auth's own folder is nobody else's."""
        backend = self.state(self.parent / "auth")
        check_apart(self.plan)
        for modes in ((0o711, 0o711, 0o604), (0o755, 0o755, 0o644)):
            self.state(self.parent / "auth", *modes)
            self.assertIn(f"authorities in {backend}.", self.refused(self.plan))
        for modes in ((0o700, 0o755, 0o644), (0o755, 0o700, 0o644), (0o755, 0o755, 0o600), (0o750, 0o750, 0o640)):
            self.state(self.parent / "auth", *modes)
            check_apart(self.plan)

    def test_beside_of_the_same_account(self) -> None:
        """Which can give itself every right."""
        if os.geteuid() != 0:
            self.skipTest("only root gives files away")
        self.state(self.parent / "auth", 0o700, 0o700, 0o000, owner=NOBODY.pw_uid)
        self.refused(self.plan)

    def test_beside_of_a_group_of_the_account(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("only root gives files away")
        backend = self.state(self.parent / "auth", 0o750, 0o750, 0o640)
        for path in (backend.parent, backend, backend / "sqlite.db"):
            os.chown(path, 0, NOBODY.pw_gid)
        self.refused(self.plan)

    def test_not_asked(self) -> None:
        """Nobody is refused who has auth among his services, or whose workers have his own account."""
        self.state(self.plan.data_dir)
        for other in (
            evolve(self.plan, has_auth=True),
            evolve(self.plan, account=None),
        ):
            check_apart(other)
