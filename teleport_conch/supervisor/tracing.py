"""Whether this host can record what the programs of sessions do, before anybody relies on it."""

from __future__ import annotations

from teleport_conch.errors import StartError
from teleport_conch.ssh.monitor.orders import Settings
from teleport_conch.ssh.tracing.kernel import Untraceable
from teleport_conch.ssh.tracing.tracer import Sizes, check


def check_tracing(sessions: Settings | None) -> None:
    """Tries it, where sessions are to be recorded so.

    :raises StartError: it cannot be done.
    """
    if sessions is None or not sessions.tracing:
        return
    try:
        check(Sizes(*sessions.tracing))
    except Untraceable as reason:
        raise StartError(f"ssh_service.enhanced_recording cannot be enabled here. {reason}") from reason
