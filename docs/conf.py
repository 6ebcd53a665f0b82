"""How Sphinx makes the manual: ``tox -e docs``, or ``sphinx-build docs docs/_build/html``."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "teleport-conch"
author = "The teleport-conch contributors"
copyright = "2026, the teleport-conch contributors"
release = version = installed_version("teleport-conch")

exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "An SSH access plane on Twisted Conch", "page_width": "64rem"}
