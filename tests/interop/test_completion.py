"""``tsh completion`` in the shells that it is for, on a terminal, by the key that people press."""

from __future__ import annotations

from tests.interop.case import InteropTests
from tests.interop.programs import check, environment, run
from tests.interop.requirements import require
from tests.interop.services import temporary_folder
from tests.interop.terminals import Terminal

TAB = "\t"


class CompletionTests(InteropTests):
    def completes(self, *shell: str, prepare: str) -> None:
        """A command, the command of a command, and a flag."""
        env = environment(HOME=str(temporary_folder()), PS1="> ")
        with Terminal(*shell, env=env) as terminal:
            terminal.type(f"{prepare}; echo rea''dy\r")
            terminal.read_until(b"ready\r\n")
            for typed, completed in (("tsh clus", b"clusters"), ("tsh proxy s", b"sh"), ("tsh ls --sea", b"rch")):
                terminal.type(f"{typed}")
                terminal.read_until(typed[-4:].encode())
                terminal.type(TAB)
                terminal.read_until(completed[-3:])
                terminal.type("\x15")  # takes the line away

    def test_bash(self) -> None:
        self.completes(require("bash", "bash"), "--norc", "-i", prepare='eval "$(tsh completion bash)"')

    def test_zsh(self) -> None:
        prepare = 'autoload -U compinit; compinit -D; eval "$(tsh completion zsh)"'
        self.completes(require("zsh", "zsh"), "-f", "-i", prepare=prepare)

    def test_fish(self) -> None:
        """fish can be asked without a terminal."""
        fish = require("fish", "fish")
        env = environment(HOME=str(temporary_folder()))
        for typed, completed in (("tsh clus", "clusters"), ("tsh proxy s", "ssh"), ("tsh ls --sea", "--search")):
            script = f"tsh completion fish | source; complete -C '{typed}'"
            words = [line.split("\t")[0] for line in check(run(fish, "-N", "-c", script, env=env)).text.splitlines()]
            self.assertIn(completed, words, typed)
