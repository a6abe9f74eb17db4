"""The ``regroute`` command: what one wants to know of a configuration before it takes force."""

import json
import os
import re
from pathlib import Path
from typing import NoReturn

import click

from .admin.client import NoAnswer, ask_to_reload, find_socket
from .check import Checked
from .config.faults import Faulty, one_line
from .config.schema import Config
from .diff.command import diff
from .explain import explain as explain_request
from .load import load
from .networks.spans import Address, parse_address
from .rules import Fixed, To, may_redirect

_CONFIG = click.argument("config", type=click.Path(path_type=Path))


class _AddressType(click.ParamType[Address]):
    name = "address"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        try:
            return parse_address(str(value))
        except ValueError:
            self.fail(f"'{value}' is no IP address: write one as in 192.168.0.1", param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="regroute")
def main() -> None:
    """Look into a configuration of regroute; `twistd regroute` runs the daemon."""


main.add_command(diff)


@main.command()
@_CONFIG
def check(config: Path) -> None:
    """Print every fault of CONFIG and exit 1, or a summary and exit 0."""
    try:
        checked = load(config)
    except Faulty as faulty:
        click.echo(str(faulty))
        count = len(faulty.faults)
        click.echo(f"{count} {'fault' if count == 1 else 'faults'}", err=True)
        raise SystemExit(1) from None
    for warning in checked.warnings:
        click.echo(str(warning))
    click.echo(f"{config}: good: {_summary(checked)}")


def _summary(checked: Checked) -> str:
    config = checked.config
    parts = [
        (len(config.rules), "rule"),
        (len(config.networks), "network"),
        (len(config.registries), "named registry"),
        (len(config.tests), "passed test"),
    ]
    return ", ".join(f"{count} {_plural(word, count)}" for count, word in parts if count)


def _plural(word: str, count: int) -> str:
    if count == 1:
        return word
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


@main.command()
@_CONFIG
@click.option("--client", type=_AddressType(), required=True, help="The client's address.")
@click.option("--method", default="GET", show_default=True, help="The request's method.")
@click.option("--host", default="", help="The Host that it asks.")
@click.option("--user-agent", default="", help="Its User-Agent.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.argument("path")
def explain(
    config: Path,
    client: Address,
    method: str,
    host: str,
    user_agent: str,
    as_json: bool,
    path: str,
) -> None:
    """Print the rule of CONFIG that decides about PATH, and the answer."""
    explanation = explain_request(
        _load(config),
        str(config),
        client,
        method,
        os.fsencode(path),
        os.fsencode(host),
        os.fsencode(user_agent).decode("latin-1"),
    )
    click.echo(json.dumps(explanation.as_json()) if as_json else explanation.as_text())


@main.command()
@_CONFIG
def hosts(config: Path) -> None:
    """Print every host that a client of CONFIG can be sent to: what a firewall must let through."""
    checked = _load(config)
    found = set()
    if checked.rules.challenges and checked.config.token.realm is not None:
        found.add(_authority(checked.config.token.realm))
    for rule in checked.rules.rules:
        match rule.outcome:
            case To(candidates=candidates):
                found |= {
                    _authority(registry.origin)
                    for registry in candidates
                    if may_redirect(rule, registry)
                }
            case Fixed(location=location):
                found.add(_authority(location))
    for host in sorted(found):
        click.echo(host)


def _authority(url: str) -> str:
    """The host, with its port if it has one, of a URL that has been checked."""
    return re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]


@main.command()
@_CONFIG
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The daemon's admin socket, instead of the one that CONFIG names.",
)
def reload(config: Path, socket: Path | None) -> None:
    """Let the daemon that runs by CONFIG reload, and print what has come of it.

    Exits 1 if there are faults: then the old rules stay in force. Exits 2 if there is no daemon to
    be asked. It is asked on its admin socket (`admin: {unix: PATH}`).
    """
    try:
        outcome = ask_to_reload(socket or _admin_socket(config))
    except NoAnswer as failure:
        click.echo(str(failure), err=True)
        raise SystemExit(2) from None
    if outcome.changes is not None:
        click.echo(f"{config}: reloaded: {one_line(outcome.changes)}")
        return
    for fault in outcome.faults:
        click.echo(str(fault))
    count = len(outcome.faults)
    what = f"{count} {_plural('fault', count)}" if count else "failed, see the daemon's log"
    click.echo(f"{what}: the old rules stay in force", err=True)
    raise SystemExit(1)


def _admin_socket(config: Path) -> Path:
    try:
        text = config.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise NoAnswer(
            f"cannot read {config}: {error.strerror}: name the daemon's socket with --socket"
        ) from None
    if (found := find_socket(text)) is None:
        raise NoAnswer(
            f"{config} names no admin socket that can be found: write admin: {{unix: PATH}} "
            "into it and restart the daemon, or name its socket with --socket"
        )
    return config.parent / found


@main.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    published = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
    }
    click.echo(json.dumps(published, indent=2))


def _load(config: Path) -> Checked:
    try:
        return load(config)
    except Faulty as faulty:
        _fail(faulty)


def _fail(faulty: Faulty) -> NoReturn:
    click.echo(str(faulty), err=True)
    raise SystemExit(1)
