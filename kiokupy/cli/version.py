"""Version: what the option ``--version`` says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class Version(argparse.Action):
    """Says which kiokupy is installed, and ends the command; argparse's own action wants to know it beforehand."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show program's version number and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Say it."""
        from importlib import metadata  # noqa: PLC0415  # it brings zipfile, email and socket: 17 ms

        print(f"kiokupy {metadata.version('kiokupy')}")  # noqa: T201  # a command speaks
        parser.exit()
