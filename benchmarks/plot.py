"""The results as a picture: a panel of bars for each workload."""

from collections.abc import Iterator, Sequence
from html import escape

from .results import Results, Spread
from .servers import NGINX, Server
from .workloads import Setting, Workload

_WIDTH, _MARGIN, _COLUMNS = 860, 20, 2
_NAMES, _FIGURES = 110, 120
"""Room for the servers' names left of the bars, and for the figures right of them."""
_ROW, _BAR, _HEAD = 20, 13, 30
_COLORS = {NGINX: "#5b7a99", "regroute": "#d9662b"}
_OTHERS = "#aab4bd"


def render(
    results: Results, setting: Setting, servers: Sequence[Server], workloads: Sequence[Workload]
) -> str:
    """CPU time a request under one setting, as SVG."""
    panels = []
    for workload in workloads:
        found = [
            (server.name, cpu, results.ratio(setting.name, workload.name, server.name))
            for server in servers
            if (cpu := results.cpu(setting.name, workload.name, server.name))
        ]
        if found:
            panels.append((workload.title, found))
    width = (_WIDTH - _MARGIN * (_COLUMNS + 1)) / _COLUMNS
    body: list[str] = []
    top = 60.0
    for start in range(0, len(panels), _COLUMNS):
        row = panels[start : start + _COLUMNS]
        for column, (title, found) in enumerate(row):
            left = _MARGIN + column * (width + _MARGIN)
            body += _panel(left, top, width, title, found)
        top += _HEAD + _ROW * max(len(found) for _, found in row) + _MARGIN
    return "\n".join([*_frame(top, f"{setting.title}"), *body, "</svg>", ""])


def _frame(height: float, subtitle: str) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}"'
        f' width="{_WIDTH}" height="{height:.0f}" font-family="sans-serif" font-size="12"'
        ' fill="#24292f">'
    )
    yield f'<rect width="{_WIDTH}" height="{height:.0f}" rx="8" fill="#ffffff"/>'
    yield _text(_MARGIN, 28, "CPU time a request, in µs (and times nginx's); less is better", 15)
    yield _text(_MARGIN, 46, subtitle)


def _panel(
    left: float,
    top: float,
    width: float,
    title: str,
    found: Sequence[tuple[str, Spread, Spread | None]],
) -> Iterator[str]:
    yield _text(left, top + 16, title, 13, weight="bold")
    scale = (width - _NAMES - _FIGURES) / (max(cpu.most for _, cpu, _ in found) or 1)
    start = left + _NAMES
    for number, (name, cpu, ratio) in enumerate(found):
        y = top + _HEAD + number * _ROW
        middle = y + _BAR / 2
        color = next((color for known, color in _COLORS.items() if name.startswith(known)), _OTHERS)
        yield _text(start - 8, middle + 4, name, anchor="end")
        yield (
            f'<rect x="{start:.1f}" y="{y:.1f}" width="{cpu.middle * scale:.1f}"'
            f' height="{_BAR}" fill="{color}"/>'
        )
        # From the least to the most.
        yield (
            f'<path d="M{start + cpu.least * scale:.1f} {middle:.1f}H'
            f'{start + cpu.most * scale:.1f}" stroke="#24292f"/>'
        )
        figure = f"{cpu.middle:,.1f}" if cpu.middle < 100 else f"{cpu.middle:,.0f}"
        if ratio and name != NGINX:
            figure += f" ({ratio.middle:.2f}×)"  # noqa: RUF001  # times
        yield _text(start + cpu.most * scale + 6, middle + 4, figure)


def _text(
    x: float, y: float, text: str, size: int = 12, *, anchor: str = "start", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        f' font-weight="{weight}">{escape(text)}</text>'
    )
