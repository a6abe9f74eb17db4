"""The results as a picture: a panel of bars for each workload, and a line where a goal is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from .measure import Plan
from .results import Results, Spread
from .servers import NGINX, Server
from .workloads import Setting, Workload

_WIDTH, _MARGIN, _COLUMNS = 860, 20, 2
_NAMES, _FIGURES = 110, 120
"""Room for the servers' names left of the bars, and for the figures right of them."""
_PANEL = (_WIDTH - _MARGIN * (_COLUMNS + 1)) / _COLUMNS
_ROW, _BAR, _HEAD = 20, 13, 30
_COLORS = {NGINX: "#5b7a99", "regroute": "#d9662b"}
_OTHERS = "#aab4bd"


@dataclass(frozen=True)
class _Bar:
    """A server's CPU time, and what multiple of nginx's it is."""

    server: str
    cpu: Spread
    ratio: Spread | None


def render(results: Results, plan: Plan) -> str:
    """CPU time a request, under the first setting and under those with relays, as SVG."""
    body: list[str] = []
    top = 36.0
    for setting in plan.main:
        panels = [
            (workload, bars)
            for workload in plan.under(setting)
            if (bars := list(_bars(results, setting, workload, plan.servers)))
        ]
        body.append(_text(_MARGIN, top + 10, setting.title))
        top += 24
        for start in range(0, len(panels), _COLUMNS):
            row = panels[start : start + _COLUMNS]
            for column, (workload, bars) in enumerate(row):
                body += _panel(_MARGIN + column * (_PANEL + _MARGIN), top, workload, bars)
            top += _HEAD + _ROW * max(len(bars) for _, bars in row) + _MARGIN
    return "\n".join([*_frame(top), *body, "</svg>", ""])


def _bars(
    results: Results, setting: Setting, workload: Workload, servers: Sequence[Server]
) -> Iterator[_Bar]:
    for server in servers:
        names = setting.name, workload.name, server.name
        if cpu := results.cpu(*names):
            yield _Bar(server.name, cpu, results.ratio(*names))


def _frame(height: float) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}"'
        f' width="{_WIDTH}" height="{height:.0f}" font-family="sans-serif" font-size="12"'
        ' fill="#24292f">'
    )
    yield f'<rect width="{_WIDTH}" height="{height:.0f}" rx="8" fill="#ffffff"/>'
    yield _text(_MARGIN, 28, "CPU time a request, in µs (and times nginx's); less is better", 15)


def _panel(left: float, top: float, workload: Workload, bars: Sequence[_Bar]) -> Iterator[str]:
    title = f"{workload.title}, in ms a GB" if workload.is_blob else workload.title
    yield _text(left, top + 16, title, 13, weight="bold")
    goal = _goal(workload, bars)
    scale = (_PANEL - _NAMES - _FIGURES) / (max(goal, *(bar.cpu.most for bar in bars)) or 1)
    start = left + _NAMES
    for number, bar in enumerate(bars):
        cpu = bar.cpu
        y = top + _HEAD + number * _ROW
        middle = y + _BAR / 2
        yield _text(start - 8, middle + 4, bar.server, anchor="end")
        yield (
            f'<rect x="{start:.1f}" y="{y:.1f}" width="{cpu.middle * scale:.1f}"'
            f' height="{_BAR}" fill="{_color(bar.server)}"/>'
        )
        # From the least to the most.
        yield (
            f'<path d="M{start + cpu.least * scale:.1f} {middle:.1f}H'
            f'{start + cpu.most * scale:.1f}" stroke="#24292f"/>'
        )
        shown = cpu.middle / 1e3 if workload.is_blob else cpu.middle
        figure = f"{shown:,.1f}" if shown < 100 else f"{shown:,.0f}"
        if bar.ratio and bar.server != NGINX:
            figure += f" ({bar.ratio.middle:.2f}×)"  # noqa: RUF001  # times
        yield _text(start + cpu.most * scale + 6, middle + 4, figure)
    if goal:
        x, y = start + goal * scale, top + _HEAD - 4
        yield (
            f'<path d="M{x:.1f} {y:.1f}v{_ROW * len(bars):.1f}" stroke="{_COLORS["regroute"]}"'
            ' stroke-dasharray="3 2"/>'
        )
        yield _text(x, y - 3, f"goal: {workload.goal:g}×", 10, anchor="middle")  # noqa: RUF001


def _goal(workload: Workload, bars: Sequence[_Bar]) -> float:
    """The most CPU time that regroute shall take; 0 where there is no goal."""
    if workload.goal is None:
        return 0
    return sum(bar.cpu.middle * workload.goal for bar in bars if bar.server == NGINX)


def _color(server: str) -> str:
    return next((color for known, color in _COLORS.items() if server.startswith(known)), _OTHERS)


def _text(
    x: float, y: float, text: str, size: int = 12, *, anchor: str = "start", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        f' font-weight="{weight}">{escape(text)}</text>'
    )
