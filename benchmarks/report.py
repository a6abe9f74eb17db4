"""The results as a page of Markdown."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from .machine import Machine
from .measure import PACED, Plan
from .registry import BLOB_SIZE
from .results import Results, Spread
from .servers import NGINX
from .workloads import BESIDE, CONNECTIONS, WORKLOADS, Setting, Workload

NOTHING = "-"

_Figure = Callable[[str, str, str], Spread | None]
"""Of a setting, a workload and a server, by their names."""


def render(plan: Plan, results: Results, machine: Machine) -> str:
    """The whole page."""
    parts = [
        "# Benchmarks",
        _introduction(plan),
        "![CPU time a request, by server and workload](results.svg)",
        "\n".join(_machine(machine)),
    ]
    for setting in plan.settings:
        parts.append(f"## {setting.title}")
        if setting.relays:
            parts.append(_relaying())
        parts += _loads(plan, results, setting)
    parts += _latencies(plan, results)
    parts += _memories(plan, results)
    if results.failures:
        parts.append("## Failures")
        parts += [f"- {' '.join(failure.split())}" for failure in results.failures]
    return "\n\n".join(parts) + "\n"


def _introduction(plan: Plan) -> str:
    return (
        "`make bench` wrote this page. Every server has one worker, on a core of its own; the"
        f" client has another, with {CONNECTIONS} connections over loopback. Each figure is the"
        f" median of {_count(plan.rounds, 'round')} of {plan.seconds} s, its least and its most in"
        " brackets. In a round the servers take turns, each round in another order.\n\n"
        "**CPU** is the user and system time of all of a server's processes for each request that"
        " was answered, in microseconds; less is better. **Ratio** is that time as a multiple of"
        f" {NGINX}'s in the same round. Requests a second are bounded by the client too.\n\n"
        "`TLS new connection` is a full handshake for each request (ECDSA P-256, TLS 1.3; `hey`);"
        " `TLS resumed` resumes a session where the server lets it (`wrk`)."
    )


def _relaying() -> str:
    return (
        "What is relayed comes from a registry on the client's core, an nginx that only sends, over"
        " connections that are kept, and have TLS where it says `TLS twice`. Its time does not"
        " count, but it slows the client down. A manifest has 1 kB, and its request is docker's,"
        " with a token of 1 kB; a blob has 1 GB. `regroute-token` gives out a token of its own and"
        f" unwraps it; `{NGINX}-unbuffered` has `proxy_buffering off`. `{BESIDE.title}` is"
        f" `{WORKLOADS[0].title}` while others have {BESIDE.beside:,} manifests a second relayed,"
        " whose time is counted in."
    )


def _machine(machine: Machine) -> Iterator[str]:
    yield from _table(("", ""), machine.facts.items())
    yield ""
    yield from _table(("program", "version"), machine.versions.items())
    for name, why in machine.missing.items():
        yield ""
        yield f"**{name} is missing**: {why}."


def _loads(plan: Plan, results: Results, setting: Setting) -> Iterator[str]:
    workloads = plan.under(setting)
    requests = [workload for workload in workloads if not workload.is_blob]
    blobs = [workload for workload in workloads if workload.is_blob]
    figures: tuple[tuple[str, _Figure, Callable[[float], str], list[Workload]], ...] = (
        ("CPU, as a multiple of nginx's", results.ratio, "{:.2f}".format, workloads),
        ("CPU a request, µs", results.cpu, _short, requests),
        ("CPU a GB, s", results.cpu, _seconds, blobs),
        ("Requests a second", results.rate, "{:,.0f}".format, requests),
        ("MB a second", results.rate, _megabytes, blobs),
    )
    for title, figure, form, shown in figures:
        rows = []
        for server in plan.servers:
            cells = [
                _cell(figure(setting.name, workload.name, server.name), form) for workload in shown
            ]
            if set(cells) != {NOTHING}:
                rows.append((server.name, *cells))
        if figure == results.ratio and any(one.goal for one in shown):
            goals = [NOTHING if one.goal is None else f"{one.goal:.2f}" for one in shown]
            rows.append(("*goal of regroute: at most*", *goals))
        if shown:
            yield "\n".join(_table((title, *(one.title for one in shown)), rows))


def _latencies(plan: Plan, results: Results) -> Iterator[str]:
    paced: Sequence[Workload] = [one for one in plan.workloads if one.name in PACED]
    if not results.latencies:
        return
    yield f"## Latency at half of {NGINX}'s rate, µs"
    yield (
        "Many connections that each wait a random time before each request, so that all together"
        f" ask about half as often as {NGINX} can answer;"
        f" {' and '.join(setting.title.lower() for setting in plan.main)}."
        " A server that cannot keep up has a lower rate, and its latency is that of its queue."
    )
    rows = []
    for server in plan.servers:
        for workload in paced:
            found = [
                results.latency(workload.name, server.name, of)
                for of in (lambda one: one.p50, lambda one: one.p99, lambda one: one.rate)
            ]
            if any(found):
                cells = [_cell(one, "{:,.0f}".format) for one in found]
                ratio = _cell(results.p99_ratio(workload.name, server.name), "{:.2f}".format)
                rows.append((server.name, workload.title, *cells[:2], ratio, cells[2]))
    header = ("server", "workload", "p50", "p99", f"p99 to {NGINX}'s", "requests a second")
    yield "\n".join(_table(header, rows))


def _memories(plan: Plan, results: Results) -> Iterator[str]:
    if not results.memories:
        return
    yield "## Memory"
    yield (
        "Resident memory of all of a server's processes when it has just been started, in MB, and"
        f" what each of {plan.connections:,} open connections adds that has asked once"
        f" ({plan.connections // 5:,} over TLS), in kB. {NGINX} keeps room for 20,000 connections"
        " from its start."
    )
    titles = {setting.name: setting.title for setting in plan.settings}
    rows = [
        (
            titles[one.setting],
            one.server,
            f"{one.idle / 1e6:.1f}",
            _kilobytes(one.plain),
            _kilobytes(one.tls),
        )
        for one in results.memories
    ]
    header = ("setting", "server", "idle, MB", "plain connection, kB", "TLS connection, kB")
    yield "\n".join(_table(header, rows))


def _cell(found: Spread | None, form: Callable[[float], str]) -> str:
    if found is None:
        return NOTHING
    middle, least, most = form(found.middle), form(found.least), form(found.most)
    return middle if least == most else f"{middle} ({least}–{most})"  # noqa: RUF001  # a range


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _kilobytes(count: float | None) -> str:
    return NOTHING if count is None else f"{count / 1e3:.2f}"


def _seconds(microseconds: float) -> str:
    return f"{microseconds / 1e6:.3f}"


def _megabytes(blobs: float) -> str:
    return f"{blobs * BLOB_SIZE / 1e6:,.0f}"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
