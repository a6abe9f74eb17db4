"""Where regroute's time goes under one workload: `python -m benchmarks.profile`."""

import pstats
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from . import load
from .processes import take_cores, take_descriptors
from .running import Running, Starter, starting
from .servers import NGINX, SERVERS, Server
from .tools import CLIENTS, provide
from .workloads import SETTINGS, WORKLOADS, Setting

_LINES = 40
_SERVERS = [server for server in SERVERS if server.program == "twistd"]
Load = Callable[[Running], load.Figures]


def _cprofile(starter: Starter, server: Server, setting: Setting, press: Load) -> None:
    """Python's functions, by the time spent in each alone; the profile itself makes all slower."""
    with tempfile.NamedTemporaryFile(suffix=".profile") as kept:
        options = ("--profile", kept.name, "--profiler", "cprofile", "--savestats")
        profiled = replace(server, arguments=(*options, *server.arguments))
        with starter.running(profiled, setting, setting.rules()) as running:
            press(running)
        pstats.Stats(kept.name).sort_stats("tottime").print_stats(_LINES)


def _perf(starter: Starter, server: Server, setting: Setting, press: Load) -> None:
    """Functions of the kernel, the libraries and the interpreter."""
    with tempfile.NamedTemporaryFile(suffix=".perf") as kept:
        _attach(starter, server, setting, press, ["perf", "record", "-q", "-o", kept.name])
        shown = ["perf", "report", "--stdio", "--no-children", "-i", kept.name]
        done = subprocess.run(shown, capture_output=True, text=True, check=True)
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        click.echo("\n".join(lines[:_LINES]))


def _strace(starter: Starter, server: Server, setting: Setting, press: Load) -> None:
    """System calls, counted; divide by the requests."""
    with tempfile.NamedTemporaryFile(suffix=".strace") as kept:
        _attach(starter, server, setting, press, ["strace", "-f", "-c", "-o", kept.name])
        click.echo(Path(kept.name).read_text())


def _attach(
    starter: Starter, server: Server, setting: Setting, press: Load, command: list[str]
) -> None:
    """Have a program look at the server while it is under load."""
    with (
        starter.running(server, setting, setting.rules()) as running,
        subprocess.Popen([*command, "-p", str(running.process.pid)]) as looking,
    ):
        press(running)
        looking.send_signal(signal.SIGINT)


_WAYS = {"cprofile": _cprofile, "perf": _perf, "strace": _strace}


@click.command()
@click.option("--by", type=click.Choice(list(_WAYS)), default="cprofile", show_default=True)
@click.option(
    "--workload",
    type=click.Choice([one.name for one in WORKLOADS]),
    default="keepalive",
    show_default=True,
)
@click.option(
    "--setting",
    type=click.Choice([one.name for one in SETTINGS]),
    help="By default the first that has this workload.",
)
@click.option(
    "--server",
    type=click.Choice([one.name for one in _SERVERS]),
    default="regroute",
    show_default=True,
)
@click.option("--seconds", default=5, show_default=True)
def main(by: str, workload: str, setting: str | None, server: str, seconds: int) -> None:
    """Show where regroute's time goes under one workload."""
    core, _ = take_cores()
    take_descriptors()
    (asked,) = (one for one in WORKLOADS if one.name == workload)
    fitting = [
        one for one in SETTINGS if one.relays == asked.relays and setting in (None, one.name)
    ]
    if not fitting:
        raise click.BadParameter(f"'{workload}' is not measured under '{setting}'")
    under = fitting[0]
    (profiled,) = (one for one in _SERVERS if one.name == server)
    tools = provide([*CLIENTS, *((NGINX,) if under.relays else ())])

    def press(running: Running) -> load.Figures:
        figures = load.run(tools, running, asked, seconds)
        click.echo(f"{figures.requests} requests in {figures.seconds:.1f} s")
        return figures

    with starting(tools, core, relays=under.relays) as starter:
        _WAYS[by](starter, profiled, under, press)


if __name__ == "__main__":
    main()
