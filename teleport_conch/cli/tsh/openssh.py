"""Where OpenSSH's programs are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

OWN = "tsh"


def find(name: str) -> str | None:
    """A program of OpenSSH's, such as ``scp``; None where there is none.

    A link of that name which leads to ``tsh`` itself is passed over.
    """
    found = (shutil.which(name, path=folder) for folder in os.get_exec_path())
    return next((path for path in found if path and Path(path).resolve().name != OWN), None)
