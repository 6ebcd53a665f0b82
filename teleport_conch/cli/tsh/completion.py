"""``tsh completion``: scripts by which shells complete the words of ``tsh``, made from its own command line."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, Namespace, _SubParsersAction
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
_RECORDINGS = "tsh recordings ls --no-login -f names --limit=100 2>/dev/null </dev/null"
_SESSIONS = f"{_RECORDINGS} | LC_ALL=C grep -x '[0-9a-f-]*'"
_NODES = f"{_LISTED} | LC_ALL=C grep -x '[A-Za-z0-9_.-]*'"
"""Names of hosts only: bash expands what it is given as words once more, and would run what stands in them."""
_ASKED = {"ssh": _NODES, "scp": _NODES, "play": _SESSIONS}


def completion(arguments: Namespace) -> None:
    """The command."""
    print({"bash": bash, "zsh": lambda: _ZSH.format(bash=bash()), "fish": fish}[arguments.shell](), end="")


def bash() -> str:
    """For bash, which completes nodes and recordings as well, as far as one is logged in."""
    lines = []
    commands = []
    for path, words in _words(tsh_parser({})):
        commands.append("/".join(path))
        asked = _ASKED.get("/".join(path), "")
        names = f" $({asked})" if asked else ""
        lines.append(f'        "{"/".join(path)}") COMPREPLY=($(compgen -W "{" ".join(words)}{names}" -- "$word")) ;;')
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
    lines.append(f"complete -c tsh -n '__fish_seen_subcommand_from play' -a '({_RECORDINGS})'")
    return "\n".join(lines) + "\n"


def _words(parser: ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """For each command, by the words that lead to it: what may follow."""
    groups = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    listed = [action for action in parser._actions if action.help is not SUPPRESS]
    flags = [word for action in listed for word in action.option_strings if len(word) != 2 or word[1] != "h"]
    built = {
        name: child for group in groups for name, child in group.choices.items() if not child.get_default("unbuilt")
    }
    yield path, [*built, *flags]
    for name, child in built.items():
        yield from _words(child, (*path, name))
