"""What a reload's log says of the requests that move."""

from regroute.check import Checked
from regroute.diff.summary import summarise_moves

from .configurations import configuration

OLD = configuration("{name: a, to: k8s}")


def told(old: Checked, new: Checked) -> list[str]:
    return [line for line in summarise_moves(old, new) if line is not None]


def test_moves_are_told_with_their_addresses_a_shape_and_both_ends() -> None:
    new = configuration("{name: b, client: 10.0.0.0/8, kind: tags, to: mirror}", "{to: k8s}")
    assert told(OLD, new) == [
        "1 path shape moves",
        "10.0.0.0/8 for GET /v2/any/tags/list: from a → k8s 302 to b → mirror 302",
    ]


def test_shapes_and_addresses_beyond_a_few_are_left_to_the_command() -> None:
    clients = ", ".join(f"10.0.{number}.0/24" for number in range(0, 12, 2))
    new = configuration(f"{{name: b, client: [{clients}], to: mirror}}", "{to: k8s}")
    assert told(OLD, new) == [
        "2 path shapes move",
        "10.0.0.0/24, 10.0.2.0/24, 10.0.4.0/24 and more for GET /v2/any/manifests/any"
        " (and 1 more): from a → k8s 302 to b → mirror 302",
    ]


def test_moves_beyond_a_few_are_left_to_the_command() -> None:
    rules = [f"{{name: b{number}, client: 10.{number}.0.0/16, to: mirror}}" for number in range(8)]
    lines = told(OLD, configuration(*rules, "{to: k8s}"))
    assert len(lines) == 7
    assert lines[-1] == "and 3 more moves: regroute diff tells them all"


def test_a_reload_that_moves_nothing_says_so() -> None:
    assert told(OLD, configuration("{name: other, to: k8s}")) == ["no path shape moves"]


def test_control_comes_back_between_small_steps() -> None:
    clients = ", ".join(f"11.{number // 256}.{number % 256}.0/25" for number in range(3000))
    new = configuration(f"{{client: [{clients}], to: mirror}}", "{to: k8s}")
    steps = list(summarise_moves(OLD, new))
    assert steps[0] is None
    assert steps.count(None) > 5


def test_what_is_too_much_is_given_up_and_says_so() -> None:
    given_up = "too much to compare at a reload: regroute diff tells which requests move"
    assert [*summarise_moves(OLD, OLD, most_steps=3)] == [None, None, None, given_up]


def test_what_was_left_out_is_not_claimed_to_be_the_same() -> None:
    rules = [
        f"{{host: h{number}.example, user_agent: 'a{number}/*', namespace: n{number}, to: k8s}}"
        for number in range(30)
    ]
    both = configuration(*rules, "{to: mirror}")
    assert told(both, both) == ["no path shape moves of those that were compared"]
