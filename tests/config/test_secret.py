"""Tests for :mod:`teleport_conch.config.secret` and :mod:`teleport_conch.config.tokens`."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.config.secret import Secret, parse_token, read_token
from teleport_conch.config.tokens import StaticToken, parse_static_token
from teleport_conch.errors import ConfigError, UnsafePath

TOKEN = "0123456789abcdef0123456789abcdef"


class SecretTests(SynchronousTestCase):
    def test_hidden(self) -> None:
        """A secret shows itself to those who ask for it, and to nobody else."""
        secret = Secret(TOKEN)
        self.assertEqual(secret.reveal(), TOKEN)
        for text in (repr(secret), str(secret), f"{secret}", repr(StaticToken(("node",), secret))):
            self.assertNotIn(TOKEN, text)

    def test_matches(self) -> None:
        """A candidate is compared whole, whatever its characters are."""
        self.assertTrue(Secret(TOKEN).matches(TOKEN))
        for candidate in ("", TOKEN[:-1], TOKEN + "x", "ü"):
            self.assertFalse(Secret(TOKEN).matches(candidate))

    def test_parse(self) -> None:
        """What cannot be a token is refused without being repeated."""
        cases = {
            "": "the token is empty",
            "two words": "a token is made of printable ASCII characters without spaces",
            "line\nbreak": "a token is made of printable ASCII characters without spaces",
            "tök": "a token is made of printable ASCII characters without spaces",
            "x" * 1025: "the token is longer than 1024 bytes",
            "/a\0b": "a path has no NUL characters",
        }
        self.assertEqual({text: str(self.assertRaises(ValueError, parse_token, text)) for text in cases}, cases)


class TokenFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def write(self, content: bytes, mode: int = 0o600) -> Secret:
        self.path.write_bytes(content)
        self.path.chmod(mode)
        return Secret(str(self.path))

    def test_literal(self) -> None:
        """A token that is no path is the token."""
        self.assertEqual(read_token(Secret(TOKEN)), Secret(TOKEN))

    def test_file(self) -> None:
        """The content of a file is the token, without the line's end."""
        for mode in (0o600, 0o400):
            self.assertEqual(read_token(self.write(f" {TOKEN}\n".encode(), mode)), Secret(TOKEN))

    def test_missing(self) -> None:
        """A missing file is named, with the reason."""
        error = self.assertRaises(ConfigError, read_token, Secret(str(self.path)))
        self.assertEqual(error.sentence, f"The token file {self.path} cannot be read: No such file or directory.")

    def test_readable_by_others(self) -> None:
        """A file that group or others can read or change is refused with the command that mends it."""
        for mode in (0o640, 0o604, 0o620, 0o602):
            error = self.assertRaises(UnsafePath, read_token, self.write(TOKEN.encode(), mode))
            self.assertEqual(
                error.sentence,
                f"{self.path} holds a token, and others than its owner can read or change it (mode {mode:04o})."
                f" Run: chmod 600 {self.path}",
            )
            self.path.unlink()

    def test_content(self) -> None:
        """A file that holds no token is refused, and what it holds is not repeated."""
        cases = {
            b"": f"The token file {self.path} does not hold a token: the token is empty.",
            b"one two": f"The token file {self.path} does not hold a token:"
            " a token is made of printable ASCII characters without spaces.",
            b"\xff\xfe": f"The token file {self.path} holds something else than one token.",
            b"/etc/shadow": f"The token file {self.path} holds a path, not a token.",
            b"x" * 5000: f"The token file {self.path} does not hold a token: the token is longer than 1024 bytes.",
        }
        for content, sentence in cases.items():
            self.assertEqual(self.assertRaises(ConfigError, read_token, self.write(content)).sentence, sentence)


class StaticTokenTests(SynchronousTestCase):
    def test_roles(self) -> None:
        """Several roles, in any case, and a path or a token behind the colon."""
        self.assertEqual(parse_static_token(f"proxy,Node:{TOKEN}"), StaticToken(("proxy", "node"), Secret(TOKEN)))
        self.assertEqual(parse_static_token("node:/a:b").value.path(), Path("/a:b"))
        self.assertEqual(parse_static_token("node:a:b").value, Secret("a:b"))

    def test_refused(self) -> None:
        """A wrong form is refused in Teleport's words, and never repeated: it may be a token."""
        form = "invalid static token spec: write role[,role]:token or role[,role]:/absolute/path"
        roles = "invalid static token spec: the roles before the colon are node, proxy, auth"
        cases = {
            TOKEN: form,
            "node:": form,
            f"admin:{TOKEN}": roles,
            f":{TOKEN}": roles,
            f"node,:{TOKEN}": roles,
            f"trusted_cluster:{TOKEN}": "the token role trusted_cluster is not built yet:"
            " clusters do not trust one another",
        }
        self.assertEqual({text: str(self.assertRaises(ValueError, parse_static_token, text)) for text in cases}, cases)
