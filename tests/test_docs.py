"""What the documents say is so: their commands run, their YAML is good, their links lead on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .making import checked

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.split("\n")
]


def starting(*words: str) -> list[str]:
    """The README's commands that begin with one of these words."""
    return [command for command in COMMANDS if command.startswith(words)]


def shell(script: str) -> str:
    """Run a script as a reader of the README would, in a network of its own where that is allowed.

    So it may have port 10000, whatever else runs on this machine.
    """
    alone = ["unshare", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        alone = []
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        [*alone, "bash", "-euc", script],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_no_command_of_the_readme_is_left_out_here() -> None:
    known = starting("make ", "curl ", "pip ", "regroute ", "twistd ")
    assert known == [command for command in COMMANDS if command]


@pytest.mark.parametrize("command", starting("regroute "))
def test_a_command_of_the_readme_runs(command: str) -> None:
    assert shell(command)


def test_the_daemon_of_the_readme_answers_as_it_says() -> None:
    [daemon], [curl] = starting("twistd "), starting("curl ")
    script = f"""
        ip link set lo up 2>/dev/null || true
        {daemon.replace("-n", "-n --pidfile=")} >&2 &
        trap 'kill $!' EXIT
        for try in $(seq 100); do {curl} >/dev/null 2>&1 && break; sleep 0.1; done
        {curl}
        {curl} -H 'x-real-ip: 192.168.0.1'
    """
    locations = re.findall(r"^Location: (.*?)\r?$", shell(script), re.MULTILINE)
    path = "/v2/library/postgres/manifests/12-alpine"
    assert locations == [f"https://k8s.gcr.io{path}", f"https://registry-1.docker.io{path}"]


@pytest.mark.parametrize("command", starting("make "))
def test_a_target_of_the_readme_exists(command: str) -> None:
    assert shell(f"{command} --dry-run")


def test_the_readme_tells_of_every_example() -> None:
    listed = re.findall(r"^\| `([a-z-]+\.yaml)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "etc/examples").glob("*.yaml"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_configurations_in_a_document_are_good(document: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL):
        checked(block, file=document.name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_links_of_a_document_lead_to_files(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        assert (document.parent / link).exists(), link
