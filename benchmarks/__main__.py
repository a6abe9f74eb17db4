"""Install what is compared, measure it in turn, write the page and the plot."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import click

from . import machine, plot, report
from .measure import Measuring, Plan
from .processes import take_cores, take_descriptors
from .results import Results
from .running import starting
from .servers import NGINX, SERVERS, Server
from .tools import CLIENTS, provide
from .workloads import SETTINGS, WORKLOADS, Setting, Workload

HERE = Path(__file__).parent


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


def _chosen(of: Sequence[T]) -> Callable[[click.Context, click.Parameter, str | None], list[T]]:
    known = {one.name: one for one in of}

    def choose(context: click.Context, parameter: click.Parameter, value: str | None) -> list[T]:
        if value is None:
            return list(of)
        names = value.split(",")
        for name in names:
            if name not in known:
                raise click.BadParameter(f"'{name}' is none of {', '.join(known)}")
        return [known[name] for name in known if name in names]

    return choose


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", "servers", callback=_chosen(SERVERS), help="These servers: a,b.")
@click.option("--workloads", callback=_chosen(WORKLOADS), help="These workloads: a,b.")
@click.option("--settings", callback=_chosen(SETTINGS), help="These settings: a,b.")
@click.option("--rounds", default=5, show_default=True, help="How often all take their turns.")
@click.option("--seconds", default=2, show_default=True, help="How long each load lasts.")
@click.option("--quick", is_flag=True, help="One round of 1 s under the first setting.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Write RESULTS.md and results.svg there; by default a full run does so here, and"
    " any other prints the page.",
)
def main(
    servers: list[Server],
    workloads: list[Workload],
    settings: list[Setting],
    rounds: int,
    seconds: int,
    quick: bool,
    output: Path | None,
) -> None:
    """Measure regroute beside other servers."""
    is_full = not quick and len(servers) == len(SERVERS) and len(workloads) == len(WORKLOADS)
    if is_full and len(settings) == len(SETTINGS) and output is None:
        output = HERE
    settings = [one for one in settings if any(of.relays == one.relays for of in workloads)]
    if quick:
        rounds, seconds, settings = 1, 1, settings[:1]
    relays = any(setting.relays for setting in settings)
    # As Ctrl-C does: the servers end with us.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    server_core, client_core = take_cores()
    descriptors = take_descriptors()
    programs = {server.program for server in servers if server.program != "twistd"}
    if relays:
        programs.add(NGINX)  # the registry
    tools = provide([*CLIENTS, *sorted(programs)])
    for needed in (*CLIENTS, *((NGINX,) if relays else ())):
        if needed in tools.missing:
            raise click.ClickException(f"{needed} is missing: {tools.missing[needed]}")
    there = machine.describe(tools, server_core, client_core)
    plan = Plan(
        [one for one in servers if one.program not in tools.missing],
        workloads,
        settings,
        rounds,
        seconds,
        # HAProxy allows as many connections as half of the descriptors.
        min(1000 if quick else 10_000, descriptors // 2 - 1000),
    )
    results = Results()
    with starting(tools, server_core, relays=relays) as starter:
        Measuring(plan, tools, starter, results).run()
    page = report.render(plan, results, there)
    if output is None:
        click.echo(page)
        return
    (output / "RESULTS.md").write_text(page)
    (output / "results.svg").write_text(plot.render(results, plan))


if __name__ == "__main__":
    main()
