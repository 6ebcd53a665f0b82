"""OpenSSH's programs: where they are, and how they go on with a login."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from teleport_conch.cli.tsh import places
from teleport_conch.client.profiles import Home, Login

OWN = "tsh"


def find(name: str) -> str | None:
    """A program of OpenSSH's, such as ``scp``; None where there is none.

    A link of that name which leads to ``tsh`` itself is passed over.
    """
    found = (shutil.which(name, path=folder) for folder in os.get_exec_path())
    return next((path for path in found if path and Path(path).resolve().name != OWN), None)


def become(program: str, words: Sequence[str]) -> NoReturn:
    """Is this program from here on."""
    sys.stdout.flush()
    os.execv(program, list(words))  # noqa: S606 - there is no shell to want


def go_on(program: str, arguments: Namespace, login: Login, words: Callable[[Home], Sequence[str]]) -> NoReturn:
    """Becomes a program; or runs it, and exits as it does, where its files are to be gone afterwards.

    :param words: the command line, for the folder in which its files are.
    """
    if arguments.identity is None:
        become(program, words(places.home()))
    from teleport_conch.cli.tsh import child

    with files_of(arguments, login) as home:
        code = child.run(program, words(home))
    sys.exit(code)


@contextmanager
def files_of(arguments: Namespace, login: Login) -> Iterator[Home]:
    """Where OpenSSH finds the files of a login: what an identity file holds is in a folder that is gone afterwards."""
    if arguments.identity is None:
        yield places.home()
        return
    from teleport_conch.cli.tsh.child import private_folder
    from teleport_conch.cli.tsh.ssh_config import for_tsh

    with private_folder() as folder:
        home = Home(folder)
        home.save(login, for_tsh(home, login.profile, find("ssh") or "ssh"))
        yield home
