"""The host key of a service whose workers had it before there was a monitor to keep it."""

from __future__ import annotations

from twisted.logger import Logger

from teleport_conch.client.handed_over import host_key_in
from teleport_conch.ssh.monitor import host_key
from teleport_conch.supervisor.plan import Plan

ROLE = "Node"
"""What has a monitor is a node."""

_log = Logger()


def take_over_host_key(plan: Plan) -> None:
    """Makes the key that clients know the monitor's, the first time that there is one.

    Only then: later, whoever owns ``data_dir`` could put a key there that he knows.

    :raises TeleportError: a file could be somebody else's, or there is no key in it that a host can have.
    """
    if plan.account is None or plan.sessions is None or not host_key.is_new(plan.kept):
        return
    private_key = host_key_in(plan.data_dir, ROLE, plan.account.pw_uid)
    if private_key:
        host_key.keep(plan.kept, private_key)
        kept, before = str(plan.kept), str(plan.data_dir)
        _log.info("The host key is in {kept} from now on, and not in {before}.", kept=kept, before=before)
