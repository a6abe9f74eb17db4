"""How long `regroute diff --log` takes: `python -m benchmarks.diff`, on a log that it generates."""

import resource
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from time import perf_counter

import click

from regroute.diff.replay import replay
from regroute.load import load
from regroute.logs.access_log import Entry, line_of, line_template

from . import rulesets

_AGENTS = ("docker/20.10.24 go/go1.19.8", "containerd/1.6.20~ds1", "skopeo/1.9.3")


def _lines(count: int, *, distinct: bool) -> Iterator[bytes]:
    """Lines that all differ in client and path, or of 500 clients that ask for 200 paths."""
    random = Random("a million lines")
    template = line_template("json", "full")
    for number in range(count):
        digest = f"{number if distinct else number % 200:064x}"
        path = f"/v2/library/postgres/blobs/sha256:{digest}"
        client = IPv4Address(random.randrange(11 << 24, 224 << 24))
        if not distinct:
            client = IPv4Address((11 << 24) + number % 500 * 4096)
        entry = Entry(
            time=1.8e9 + number / 1000,
            client=client,
            method=b"GET",
            host="registry.example",
            path=path.encode(),
            status=302,
            rule="rule-2",
            registry="https://k8s.gcr.io",
            location=f"https://k8s.gcr.io{path}",
            user_agent=random.choice(_AGENTS),
            microseconds=20,
        )
        yield line_of(entry, template)


def _write_rules(path: Path, rules: rulesets.Rules) -> Path:
    lines = [
        f"  - {{client: [{', '.join(map(repr, prefixes))}], to: {registry}}}"
        for registry, prefixes in rules.registries.items()
    ]
    path.write_text("\n".join(["rules:", *lines, f"  - {{to: {rules.otherwise}}}", ""]))
    return path


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lines", default=1_000_000, show_default=True, help="How long the log is.")
def main(lines: int) -> None:
    """Replay a log where all requests differ, and one where they recur, through 2 and 300 rules."""
    with tempfile.TemporaryDirectory() as kept:
        directory = Path(kept)
        for rules in (rulesets.two(), rulesets.many()):
            old = load(_write_rules(directory / "old.yaml", rules))
            moved = rulesets.Rules(rules.name, rules.registries, "https://registry.k8s.io")
            new = load(_write_rules(directory / "new.yaml", moved))
            for distinct in (True, False):
                log = directory / "access.jsonl"
                with log.open("wb") as file:
                    file.writelines(_lines(lines, distinct=distinct))
                began = perf_counter()
                with log.open("rb") as file:
                    replayed = replay(file, old, new)
                seconds = perf_counter() - began
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                what = "all differ" if distinct else "they recur"
                click.echo(
                    f"{rules.name} rules, {what}: {replayed.requests} requests, "
                    f"{replayed.changed} change, {seconds:.1f} s, at most {peak:.0f} MB"
                )


if __name__ == "__main__":
    main()
