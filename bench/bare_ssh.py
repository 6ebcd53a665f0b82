"""A server of AsyncSSH that takes certificates, to compare with: ``python -m bench.bare_ssh PORT KEY AUTHORITIES``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncssh

from bench.programs import LOOPBACK


async def serve(port: int, key: str, authorities: Path) -> None:
    lines = authorities.read_text(encoding="ascii").splitlines()
    trusted = asyncssh.import_authorized_keys("".join(f"cert-authority {line}\n" for line in lines))
    await asyncssh.listen(
        LOOPBACK,
        port,
        server_factory=asyncssh.SSHServer,
        server_host_keys=[(key, f"{key}-cert.pub")],
        authorized_client_keys=trusted,
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
