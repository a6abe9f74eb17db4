"""docs/diff.md shows what the command prints."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from regroute.cli import main

DOCUMENT = (Path(__file__).parents[2] / "docs/diff.md").read_text()

COMMANDS = re.findall(r"`regroute (diff old\.yaml [^`]*)`", DOCUMENT)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_document_shows_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks("yaml"):
        Path(block.split()[1]).write_text(block)
    [log] = blocks("json")
    Path("access.jsonl").write_text(log)
    result = CliRunner().invoke(main, command.split(), catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout in blocks("text")


def test_every_output_in_the_document_has_its_command() -> None:
    assert len(COMMANDS) == len(blocks("text")) == 2
