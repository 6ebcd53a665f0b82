"""``tsh completion``: scripts by which shells complete the words of ``tsh``, made from its own command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator

from teleport_conch.cli.tsh.line import tsh_parser

_BASH = """\
# Completion of tsh for bash: eval "$(tsh completion bash)"
_tsh() {{
    local word="${{COMP_WORDS[$COMP_CWORD]}}" found="" longer at=1
    while [ "$at" -lt "$COMP_CWORD" ]; do
        longer="${{found:+$found/}}${{COMP_WORDS[$at]}}"
        case " {commands} " in *" $longer "*) found=$longer ;; esac
        at=$((at + 1))
    done
    case $found in
{cases}
    esac
}}
complete -o default -F _tsh tsh
"""
_ZSH = """\
#compdef tsh
# Completion of tsh for zsh: eval "$(tsh completion zsh)"
autoload -U +X bashcompinit && bashcompinit
{bash}"""

_LISTED = "tsh ls --no-login -f names 2>/dev/null </dev/null"
"""Nobody is asked for a password who has only pressed TAB."""
_NODES = f"{_LISTED} | LC_ALL=C grep -x '[A-Za-z0-9_.-]*'"
"""Names of hosts only: bash expands what it is given as words once more, and would run what stands in them."""


def completion(arguments: Namespace) -> None:
    """The command."""
    print({"bash": bash, "zsh": lambda: _ZSH.format(bash=bash()), "fish": fish}[arguments.shell](), end="")


def bash() -> str:
    """For bash, which completes nodes as well, as far as one is logged in."""
    lines = []
    commands = []
    for path, words in _words(tsh_parser({})):
        commands.append("/".join(path))
        nodes = f" $({_NODES})" if path in (("ssh",), ("scp",)) else ""
        lines.append(f'        "{"/".join(path)}") COMPREPLY=($(compgen -W "{" ".join(words)}{nodes}" -- "$word")) ;;')
    return _BASH.format(commands=" ".join(filter(None, commands)), cases="\n".join(lines))


def fish() -> str:
    """For fish."""
    lines = ["# Completion of tsh for fish: tsh completion fish | source"]
    for path, words in _words(tsh_parser({})):
        seen = " and ".join(f"__fish_seen_subcommand_from {name}" for name in path) or "__fish_use_subcommand"
        for word in words:
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" if word[0] == "-" else f"-a {word}"
            lines.append(f"complete -c tsh -f -n '{seen}' {kind}")
    lines.append(f"complete -c tsh -f -n '__fish_seen_subcommand_from ssh' -a '({_LISTED})'")
    return "\n".join(lines) + "\n"


def _words(parser: ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """For each command, by the words that lead to it: what may follow."""
    groups = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    flags = [word for action in parser._actions for word in action.option_strings if len(word) != 2 or word[1] != "h"]
    yield path, [*(name for group in groups for name in group.choices), *flags]
    for group in groups:
        for name, child in group.choices.items():
            yield from _words(child, (*path, name))
