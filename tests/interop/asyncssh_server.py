"""A server of AsyncSSH: ``python -m tests.interop.asyncssh_server PORT HOST_KEY AUTHORIZED [METHOD...]``.

It knows what the system's ``sshd`` may not: ML-KEM, passwords without an account, and logins in several steps. The user
is ``alice``, the password ``secret``, the code ``123456``. Methods are ``password`` and ``questions``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import asyncssh


class Server(asyncssh.SSHServer):
    """Lets alice in."""

    methods: tuple[str, ...] = ()

    def password_auth_supported(self) -> bool:
        return "password" in self.methods

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("alice", "secret")

    def kbdint_auth_supported(self) -> bool:
        return "questions" in self.methods

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        return "Two things", "Answer both.", "", [("Password: ", False), ("Code: ", True)]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return (username, *responses) == ("alice", "secret", "123456")


def run_command(process: asyncssh.SSHServerProcess[str]) -> None:
    """The only program here repeats its name."""
    process.stdout.write(f"you said {process.command}\n")
    process.exit(5)


async def serve(port: int, key: str, authorized: str, methods: tuple[str, ...]) -> None:
    Server.methods = methods
    await asyncssh.listen(
        "127.0.0.1",
        port,
        server_factory=Server,
        server_host_keys=[key],
        authorized_client_keys=authorized,
        process_factory=run_command,
        login_timeout=60,
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3], tuple(sys.argv[4:])))
