"""What a comparison found, told for people and for programs."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, NamedTuple

from ..config.faults import one_line
from .replay import Example, Move, Replayed
from .shapes import Shape
from .space import Compared, SpaceMove
from .verdicts import Verdict

# Of one move, for people; programs get all.
_RANGES_SHOWN = 24
_SHAPES_SHOWN = 4
_WIDTH = 96


class _Row(NamedTuple):
    number: int
    before: Verdict
    after: Verdict
    details: list[str]


def replayed_json(replayed: Replayed) -> dict[str, Any]:
    """A replay for programs."""
    return {
        "requests": replayed.requests,
        "changed": replayed.changed,
        "skipped": sum(replayed.skipped.values()),
        "moves": [
            _move(move.before, move.after, move.requests, move.example) for move in replayed.moves
        ],
    }


def _move(before: Verdict, after: Verdict, requests: int, example: Example) -> dict[str, Any]:
    return {
        "from": before._asdict(),
        "to": after._asdict(),
        "requests": requests,
        "example": asdict(example),
    }


def replayed_text(replayed: Replayed) -> Iterator[str]:
    """A replay for people, line by line."""
    share = _share(replayed.changed, replayed.requests)
    yield f"{_count(replayed.requests, 'request')} replayed: {replayed.changed:,} change{share}"
    skipped = sum(replayed.skipped.values())
    if skipped:
        yield f"{_count(skipped, 'line')} skipped:"
        width = len(f"{max(replayed.skipped.values()):,}")
        for reason, count in sorted(replayed.skipped.items()):
            yield f"  {count:>{width},}  {reason}"
    yield from _table("requests", [_replayed_row(move) for move in replayed.moves])


def _replayed_row(move: Move) -> _Row:
    example = move.example
    details = [
        *_labelled("from", [example.client]),
        *_labelled(
            "for", [_request(example.method, example.host, example.path, example.user_agent)]
        ),
        *_locations(example.from_location, example.to_location),
    ]
    return _Row(move.requests, move.before, move.after, details)


def compared_json(compared: Compared, outside: Sequence[str]) -> dict[str, Any]:
    """A comparison over all addresses for programs: its requests are shapes."""
    return {
        "requests": compared.shapes,
        "changed": compared.moving,
        "skipped": compared.left_out,
        "moves": [_space_move(compared, move) for move in compared.moves],
        "outside": list(outside),
    }


def _space_move(compared: Compared, move: SpaceMove) -> dict[str, Any]:
    ranges = compared.ranges(move)
    first = move.shapes[0]
    example = Example(
        str(ranges[0].start),
        first.method,
        first.host,
        first.target,
        first.user_agent,
        *move.locations,
    )
    return {
        **_move(move.before, move.after, len(move.shapes), example),
        "ranges": [span.shortest for span in ranges],
        "shapes": [
            {
                "method": shape.method,
                "host": shape.host,
                "path": shape.target,
                "user_agent": shape.user_agent,
            }
            for shape in move.shapes
        ],
    }


def compared_text(compared: Compared) -> Iterator[str]:
    """A comparison over all addresses for people, line by line."""
    yield (
        f"{_count(compared.shapes, 'shape')} of requests compared over all addresses: "
        f"{compared.moving:,} change"
    )
    if compared.left_out:
        yield (
            f"{_count(compared.left_out, 'more combination')} of conditions left out: too many. "
            "What each rule needs comes first, then what each two need"
        )
    yield from _table("shapes", [_compared_row(compared, move) for move in compared.moves])


def _compared_row(compared: Compared, move: SpaceMove) -> _Row:
    shapes = [shape_text(shape) for shape in move.shapes[:_SHAPES_SHOWN]]
    if len(move.shapes) > _SHAPES_SHOWN:
        shapes.append(f"and {len(move.shapes) - _SHAPES_SHOWN:,} more shapes")
    ranges = compared.ranges(move)
    listed = ", ".join(span.shortest for span in ranges[:_RANGES_SHOWN])
    if len(ranges) > _RANGES_SHOWN:
        listed += f" and {len(ranges) - _RANGES_SHOWN:,} more ranges"
    wrapped = textwrap.wrap(listed, _WIDTH, break_long_words=False, break_on_hyphens=False)
    details = [
        *_labelled("from", wrapped),
        *_labelled("for", shapes),
        *_locations(*move.locations),
    ]
    return _Row(len(move.shapes), move.before, move.after, details)


def shape_text(shape: Shape) -> str:
    """A shape of requests in one line."""
    return _request(shape.method, shape.host, shape.target, shape.user_agent)


def _request(method: str, host: str, target: str, user_agent: str) -> str:
    agent = f" ({user_agent})" if user_agent else ""
    return f"{method} {host}{target}{agent}"


def _locations(before: str | None, after: str | None) -> Iterator[str]:
    """Where an example was and is sent."""
    if before is not None:
        yield from _labelled("was", [before])
    if after is not None:
        yield from _labelled("is", [after])


def _labelled(label: str, lines: Sequence[str]) -> Iterator[str]:
    """Lines with a label before the first; whatever a client wrote stays in its line."""
    for place, line in enumerate(lines):
        yield f"{'' if place else label:<4}  {one_line(line)}"


def _table(title: str, rows: Sequence[_Row]) -> Iterator[str]:
    """The moves in columns, each with its details under it."""
    if not rows:
        return
    yield ""
    cells = [(title, "before", "after")]
    cells += [(f"{row.number:,}", str(row.before), str(row.after)) for row in rows]
    counts, befores = (max(len(cell[place]) for cell in cells) for place in (0, 1))
    for (count, before, after), details in zip(
        cells, chain([[]], (row.details for row in rows)), strict=True
    ):
        yield f"{count:>{counts}}  {before:<{befores}}  {after}"
        for line in details:
            yield f"{'':>{counts}}    {line}"


def _share(part: int, whole: int) -> str:
    if not part:
        return ""
    percent = 100 * part / whole
    return f" ({percent:.2f} %)" if percent >= 0.005 else " (under 0.01 %)"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
