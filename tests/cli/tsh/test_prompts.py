"""What a person is asked at a login."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_conch.cli.tsh.prompts import credentials


class CredentialsTests(SynchronousTestCase):
    def asked(self, second_factor: str, recovery: bool, *answers: str) -> tuple[dict[str, object], list[str]]:
        left, questions = list(answers), list[str]()

        def ask(question: str) -> str:
            questions.append(question)
            return left.pop(0)

        return credentials("alice", second_factor, recovery, ask).to_json(), questions

    def test_password_and_code(self) -> None:
        """Spaces belong to a password, and not to a code, which some programs show in two halves."""
        found, questions = self.asked("otp", False, " pass word ", "123 456 ")
        self.assertEqual(found, {"password": " pass word ", "otp_token": "123456"})
        self.assertEqual(questions, ["Enter password for Teleport user alice: ", "Enter your OTP token: "])

    def test_password_only(self) -> None:
        found, questions = self.asked("off", False, "pass")
        self.assertEqual((found, len(questions)), ({"password": "pass"}, 1))

    def test_recovery(self) -> None:
        found, _ = self.asked("otp", True, "pass", "abcd-efgh")
        self.assertEqual(found, {"password": "pass", "recovery_code": "abcd-efgh"})
