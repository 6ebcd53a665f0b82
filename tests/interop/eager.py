"""``twist`` whose SSH servers want new keys all the time, and tell: ``python eager.py teleport-node -c FILE``.

What a client does behind a login, be it a single command, meets an exchange of keys; what moves much meets many, if
not after every packet. There is no key of the configuration for that.
"""

from __future__ import annotations

import sys
from weakref import WeakKeyDictionary

from twisted.application.twist._twist import Twist
from twisted.logger import Logger

from teleport_conch.ssh.server import ServerTransport
from teleport_conch.ssh.transport.rekeying import RekeyLimits

#: From the login on; during it OpenSSH takes no new exchange.
AT_FIRST, LATER = RekeyLimits(data_bytes=512), RekeyLimits(data_bytes=256 << 10)
OFTEN = 16
MARK = "Exchanged keys anew with {peer}."

_log = Logger()
_count: WeakKeyDictionary[ServerTransport, int] = WeakKeyDictionary()
_authenticated, _exchange_over = ServerTransport.authenticated, ServerTransport.exchange_over


def authenticated(self: ServerTransport) -> None:
    _authenticated(self)
    self.rekey_limits = AT_FIRST


def exchange_over(self: ServerTransport, first: bool) -> None:
    _exchange_over(self, first)
    if not first:
        _log.info(MARK, peer=self.client_address)
        _count[self] = _count.get(self, 0) + 1
        if _count[self] == OFTEN:
            self.rekey_limits = LATER


if __name__ == "__main__":
    ServerTransport.authenticated = authenticated  # type: ignore[method-assign]  # this is what the file is for
    ServerTransport.exchange_over = exchange_over  # type: ignore[method-assign, assignment]  # of a base class
    sys.exit(Twist.main())
