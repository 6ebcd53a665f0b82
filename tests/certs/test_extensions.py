"""Roles and traits in the extensions of SSH certificates."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_conch import wire
from teleport_conch.certs import extensions
from teleport_conch.errors import CertificateMalformed
from tests.certs import samples

_texts = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=3)


class ExtensionTests(SynchronousTestCase):
    @settings(max_examples=100, deadline=None)
    @given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), _texts, max_size=3))
    def test_traits_round_trip(self, traits: dict[str, list[str]]) -> None:
        written = extensions.write_traits(traits)
        wanted = {name: tuple(values) for name, values in traits.items()}
        self.assertEqual(extensions.read_traits(written, "traits"), wanted)

    def test_written_as_teleport_writes(self) -> None:
        self.assertEqual(extensions.write_roles(["admin", "dév"]), '{"version":"v1","roles":["admin","dév"]}')
        self.assertEqual(extensions.write_requests(["a", "b"]), '{"access_requests":["a","b"]}')
        self.assertEqual(extensions.write_traits({"b": [], "a": ["x", "y"]}), '{"a":["x","y"],"b":[]}')

    def test_absent(self) -> None:
        """A certificate that another program made has neither roles nor traits."""
        bare = samples.user_certificate(extensions=())
        self.assertEqual(extensions.roles_of(bare), ())
        self.assertEqual(extensions.traits_of(bare), {})
        self.assertEqual(extensions.requests_of(bare), ())

    def test_malformed(self) -> None:
        for text, says in (
            ("admin", "is not JSON"),
            ("[]", "not of version v1"),
            ('{"roles":["admin"]}', "not of version v1"),
            ('{"version":"v2","roles":["admin"]}', "not of version v1"),
            ('{"version":"v1"}', "a list of strings"),
            ('{"version":"v1","roles":"admin"}', "a list of strings"),
            ('{"version":"v1","roles":[["admin"]]}', "a list of strings"),
            ("[" * 20_000, "is not JSON"),
            ("1" * 20_000, "is not JSON"),
        ):
            certificate = samples.user_certificate(extensions=(("teleport-roles", wire.text(text)),))
            error = self.assertRaises(CertificateMalformed, extensions.roles_of, certificate)
            self.assertIn(says, str(error))

    def test_malformed_requests(self) -> None:
        for text, says in (
            ("x", "The field teleport-active-requests of the certificate is not JSON."),
            ("[]", "The extension teleport-active-requests of the certificate is not an object."),
            ("{}", "a list of strings"),
            ('{"access_requests":[1]}', "a list of strings"),
        ):
            certificate = samples.user_certificate(extensions=(("teleport-active-requests", wire.text(text)),))
            error = self.assertRaises(CertificateMalformed, extensions.requests_of, certificate)
            self.assertIn(says, str(error))
