"""Two rule sets over the whole address space: against a scan of every edge, and by tables."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given

from regroute.check import Checked
from regroute.diff.report import compared_text
from regroute.diff.shapes import Shape
from regroute.diff.space import Compared, compare
from regroute.diff.steps import finish
from regroute.load import load
from regroute.networks.spans import Address, Span
from regroute.respond import respond_to

from ..example_files import EXAMPLES
from .configurations import configuration, edges, pairs, seen, verdict, without_mapped


def compared(old: Checked, new: Checked, most: int = 100_000) -> Compared:
    return finish(compare(old.rules, new.rules, most))


def holds(spans: list[Span], address: Address) -> bool:
    return any(
        span.version == address.version and span.first <= int(address) <= span.last
        for span in spans
    )


def ask(checked: Checked, client: Address, shape: Shape) -> tuple[tuple[object, ...], object]:
    """What a client gets for a shape, and where it comes from: the whole core, no short cut.

    As it is at first, and when it is known of all registries that they ask nobody who they are.
    """
    at_first, known = [
        respond_to(
            rules,
            client,
            shape.method,
            shape.target.encode(),
            shape.host.encode(),
            shape.user_agent,
        )
        for rules in (checked.rules, replace(checked.rules, open=ALL_OPEN))
    ]
    return (*seen(at_first), *seen(known)), verdict(at_first)


ALL_OPEN = frozenset({"https://registry.k8s.io", "http://mirror.example:5000"})


def moves_of(found: Compared) -> dict[Shape, list[tuple[object, object, list[Span]]]]:
    moves: dict[Shape, list[tuple[object, object, list[Span]]]] = {}
    for move in found.moves:
        for shape in move.shapes:
            entry = (tuple(move.before), tuple(move.after), found.ranges(move))
            moves.setdefault(shape, []).append(entry)
    return moves


def assert_as_scanned(old: Checked, new: Checked, found: Compared, shapes: list[Shape]) -> None:
    moves = moves_of(found)
    for shape in shapes:
        for address in without_mapped(edges(old, new)):
            before, after = ask(old, address, shape), ask(new, address, shape)
            told = [
                (one, other) for one, other, spans in moves.get(shape, []) if holds(spans, address)
            ]
            assert told == ([(before[1], after[1])] if before[0] != after[0] else []), address


@given(pairs())
def test_the_ranges_are_those_of_a_scan_of_every_edge(pair: tuple[Checked, Checked]) -> None:
    found = compared(*pair)
    moving = [shape for move in found.moves for shape in move.shapes]
    assert_as_scanned(*pair, found, [*dict.fromkeys(moving)][:8])
    assert found.moving == len(set(moving)) <= found.shapes


MOVES = ["{client: 10.0.0.0/8, to: mirror}", "{to: k8s}"]


@pytest.mark.parametrize(
    ("old", "new", "ranges"),
    [
        pytest.param(MOVES[1:], MOVES, ["10.0.0.0/8"], id="added"),
        pytest.param(MOVES, MOVES[1:], ["10.0.0.0/8"], id="removed"),
        pytest.param(MOVES, MOVES, [], id="the same"),
        pytest.param(["{to: k8s}"], ["{to: mirror}"], ["0.0.0.0/0", "::/0"], id="everyone"),
        pytest.param(
            MOVES,
            ["{client: 10.0.0.0/9, to: mirror}", "{to: k8s}"],
            ["10.128.0.0/9"],
            id="one half",
        ),
        pytest.param(
            ["{to: k8s}"],
            ["{client: [10.0.0.0/9, 10.128.0.0/9, 11.0.0.0], to: mirror}", "{to: k8s}"],
            ["10.0.0.0-11.0.0.0"],
            id="neighbours are one",
        ),
        pytest.param(
            ["{to: k8s}"],
            ["{client: [9.9.9.9, '2001:db8::7', 255.255.255.255], to: mirror}", "{to: k8s}"],
            ["9.9.9.9", "255.255.255.255", "2001:db8::7"],
            id="single ones",
        ),
        pytest.param(
            ["{to: k8s}"],
            ["{not: {client: 0.0.0.0/0}, to: mirror}", "{to: k8s}"],
            ["::/0"],
            id="all but some",
        ),
    ],
)
def test_the_ranges_that_move(old: list[str], new: list[str], ranges: list[str]) -> None:
    found = compared(configuration(*old), configuration(*new))
    told = [span.shortest for move in found.moves for span in found.ranges(move)]
    assert told == ranges


def test_moves_that_differ_in_their_addresses_are_told_apart() -> None:
    found = compared(
        configuration("{to: k8s}"),
        configuration(
            "{kind: blobs, client: 10.0.0.0/8, to: mirror}",
            "{kind: tags, client: 11.0.0.0/8, to: mirror}",
            "{name: rest, to: k8s}",
        ),
    )
    told = {
        shape.path: [str(span.start) for span in found.ranges(move)]
        for move in found.moves
        for shape in move.shapes
    }
    assert told == {"/v2/any/blobs/sha256:any": ["10.0.0.0"], "/v2/any/tags/list": ["11.0.0.0"]}


def test_a_move_tells_where_its_first_shape_was_and_is_sent() -> None:
    [move] = compared(configuration("{to: k8s}"), configuration("{to: mirror}")).moves
    assert move.locations == (
        "https://registry.k8s.io/v2/any/manifests/any",
        "http://mirror.example:5000/v2/any/manifests/any",
    )


def test_more_shapes_than_are_worth_it_are_counted_and_not_lost_in_silence() -> None:
    """The rest are witnesses of each rule and of each two; their ranges are right as well."""
    rules = [
        f"{{host: h{number}.example, repository: r{number}, user_agent: 'a{number}/*', to: k8s}}"
        for number in range(30)
    ]
    old = configuration(*rules, "{to: mirror}")
    new = configuration(
        *rules[:10], "{host: h3.example, repository: r7, client: 10.0.0.0/8, deny: no}", *rules[10:]
    )
    found = compared(old, new, most=2000)
    assert found.shapes <= 2000
    assert found.left_out > 10_000
    assert list(compared_text(found))[1] == (
        f"{found.left_out:,} more combinations of conditions left out: too many. "
        "What each rule needs comes first, then what each two need"
    )
    told = {
        (shape.host, shape.path, str(span.start))
        for move in found.moves
        for shape in move.shapes
        for span in found.ranges(move)
    }
    assert ("h3.example", "/v2/r7/manifests/any", "10.0.0.0") in told
    assert_as_scanned(old, new, found, [move.shapes[0] for move in found.moves][:5])


def test_many_prefixes_that_one_rule_writes_out_are_one_class() -> None:
    prefixes = ", ".join(f"11.{number // 256}.{number % 256}.0/25" for number in range(2000))
    rule = f"{{client: [{prefixes}], to: mirror}}"
    found = compared(configuration("{to: k8s}"), configuration(rule, "{to: k8s}"))
    assert len(found.partition.classes) == 2
    [move] = found.moves
    assert len(found.ranges(move)) == 2000
    assert found.ranges(move)[-1].start == ip_address("11.7.207.0")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_differs_from_the_first_rules_and_not_from_itself(path: Path) -> None:
    example, first = load(path), load(EXAMPLES[0])
    assert compared(example, example).moves == ()
    found = compared(first, example)
    assert found.left_out == 0
    assert bool(found.moves) == (path != EXAMPLES[0])
    assert_as_scanned(first, example, found, [move.shapes[0] for move in found.moves][:10])
