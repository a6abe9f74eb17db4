"""The command ``regroute diff``: reads two configurations and a log, and prints what changes."""

import gzip
import io
import json
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import IO, Protocol

import click

from ..check import Checked
from ..config.faults import Faulty
from ..load import load
from .outside import outside
from .replay import Replayed, replay
from .report import compared_json, compared_text, replayed_json, replayed_text
from .space import compare
from .steps import finish

CHANGED, UNKNOWN = 1, 2
"""The exit statuses: more has changed than may; nobody can tell."""

_CONFIG = click.Path(path_type=Path)
_LONGEST = 8 * 2**20  # of a line, in bytes
_BUFFER = 2**20
_GZIP = b"\x1f\x8b"  # how its files begin (RFC 1952 §2.3.1)
_A_STEP = 4096  # lines between two moves of the progress bar


class _Bar(Protocol):
    """A progress bar, as far as it is moved."""

    pos: int

    def update(self, n_steps: int) -> None: ...


class _ShareType(click.ParamType[Fraction]):
    name = "percentage"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        text = str(value)
        number = text.removesuffix("%").strip()
        try:
            share = Fraction(number) / 100
        except (ValueError, ZeroDivisionError):
            self.fail(f"'{text}' is no percentage: write one as in 1% or 0.5%", param, ctx)
        if not text.endswith("%"):
            self.fail(f"'{text}' has no unit: did you mean {text}%?", param, ctx)
        if not 0 <= share <= 1:
            self.fail(f"'{text}' is not between 0% and 100%", param, ctx)
        return share


@click.command()
@click.argument("old", type=_CONFIG)
@click.argument("new", type=_CONFIG)
@click.option(
    "--log",
    type=click.Path(allow_dash=True),
    help="Replay this access log, in JSON; - is standard input.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--fail-over",
    type=_ShareType(),
    help="Exit 1 if more than this share of the replayed requests changes, as in 1%.",
)
def diff(old: Path, new: Path, log: str | None, as_json: bool, fail_over: Fraction | None) -> None:
    """Print which requests get another answer under NEW than under OLD.

    With --log, of the requests in an access log that was written under OLD; it may be compressed
    with gzip. Otherwise the two are compared over all addresses, for each shape of request that
    their rules tell apart. Exits 2 if either configuration is faulty or the log cannot be read.
    """
    if log is None and fail_over:
        raise click.UsageError(
            "without --log only --fail-over 0% has a meaning: how many requests come from an "
            "address is in a log alone"
        )
    before, after = _load(old, new)
    if log is None:
        _compare(before, after, as_json, fail_over)
    else:
        _replay(before, after, log, as_json, fail_over)


def _load(*paths: Path) -> list[Checked]:
    found = []
    for path in paths:
        try:
            found.append(load(path))
        except Faulty as faulty:
            click.echo(str(faulty), err=True)
    if len(found) < len(paths):
        raise SystemExit(UNKNOWN)
    return found


def _compare(old: Checked, new: Checked, as_json: bool, fail_over: Fraction | None) -> None:
    compared = finish(compare(old.rules, new.rules))
    differences = list(outside(old, new))
    if as_json:
        click.echo(json.dumps(compared_json(compared, differences)))
    else:
        _print(compared_text(compared), differences)
    if fail_over is not None and compared.moving:
        raise SystemExit(CHANGED)


def _replay(
    old: Checked, new: Checked, log: str, as_json: bool, fail_over: Fraction | None
) -> None:
    try:
        with click.open_file(log, "rb") as file:
            replayed = replay(_lines(file), old, new)
    except (OSError, EOFError, zlib.error) as error:
        click.echo(f"cannot read the log: {error}", err=True)
        raise SystemExit(UNKNOWN) from None
    if as_json:
        click.echo(json.dumps(replayed_json(replayed)))
    else:
        _print(replayed_text(replayed), list(outside(old, new)))
    if fail_over is not None:
        _judge(replayed, fail_over)


def _print(lines: Iterator[str], differences: list[str]) -> None:
    if differences:
        click.echo(f"not compared, but different: {', '.join(differences)}")
    for line in lines:
        click.echo(line)


def _judge(replayed: Replayed, fail_over: Fraction) -> None:
    if not replayed.requests and replayed.skipped:
        click.echo("no line of the log could be replayed", err=True)
        raise SystemExit(UNKNOWN)
    if replayed.changed > fail_over * replayed.requests:
        raise SystemExit(CHANGED)


def _lines(log: IO[bytes]) -> Iterator[bytes]:
    """The log's lines, with a progress bar where someone looks and its size is known."""
    # Whatever click opened can be read as a raw file can.
    stream = io.BufferedReader(log, _BUFFER)  # type: ignore[type-var]
    is_compressed = stream.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
    lines = io.BufferedReader(gzip.GzipFile(fileobj=stream), _BUFFER) if is_compressed else stream
    size = _size(log) if sys.stderr.isatty() else None
    try:
        with _progress(size) as bar:
            for count, line in enumerate(_split(lines)):
                if bar is not None and count % _A_STEP == 0:
                    bar.update(stream.tell() - bar.pos)
                yield line
            if bar is not None:
                bar.update(stream.tell() - bar.pos)
    finally:
        # Whoever opened it closes it.
        stream.detach()


def _split(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """Lines, of which one that is too long is cut: it may have no end."""
    while line := stream.readline(_LONGEST):
        yield line
        while len(line) == _LONGEST and not line.endswith(b"\n"):
            line = stream.readline(_LONGEST)


def _progress(size: int | None) -> AbstractContextManager[_Bar | None]:
    if size is None:
        return nullcontext()
    return click.progressbar(length=size, label="replaying", file=sys.stderr)


def _size(log: IO[bytes]) -> int | None:
    """The size of a regular file in bytes; None if it is none."""
    try:
        found = os.fstat(log.fileno())
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
