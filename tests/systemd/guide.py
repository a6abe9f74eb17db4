"""The commands of docs/installation.md, for they are what the tests install and change."""

import re

from ..tree import ROOT

_FILE = ROOT / "docs/installation.md"
_GUIDE = _FILE.read_text()


def commands(beginning: str) -> str:
    """The first block of shell commands after a line that begins so: a heading, or a paragraph."""
    return _block("sh", beginning)


def settings(beginning: str) -> str:
    """The first block of unit settings after such a line."""
    return _block("ini", beginning)


def inline(command: str) -> str:
    """A command that stands in the midst of a sentence."""
    assert f"`{command}`" in _GUIDE.replace("\n", " "), f"{_FILE.name} does not say '{command}'"
    return command


def _block(language: str, beginning: str) -> str:
    _, found, rest = _GUIDE.partition(f"\n{beginning}")
    assert found, f"{_FILE.name} has no line that begins with '{beginning}'"
    block = re.search(rf"```{language}\n(.*?)```", rest, re.DOTALL)
    assert block, f"{_FILE.name} has no {language} after '{beginning}'"
    return block[1]
