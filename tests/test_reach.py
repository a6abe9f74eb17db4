"""Filing rules finds the same unreachable ones as comparing each with each does."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from regroute.compile import Names, compile_rule, compile_table
from regroute.config.scalars import Known
from regroute.config.schema import Config
from regroute.config.urls import parse_registry
from regroute.networks.ranges import Ranges
from regroute.networks.spans import parse_span
from regroute.networks.table import AddressTable
from regroute.reach import unreachable
from regroute.rules import Rule

from .test_rules import NETWORKS, one_or_more, rule_data

SPANS = ["10.0.0.0/8", "10.1.2.3", "10.1.2.0-10.2.0.9", "0.0.0.0/0", "2001:db8::/32", "::/0"]


def compiled(
    rules: list[dict[str, Any]], networks: dict[str, Any]
) -> tuple[list[Rule], AddressTable]:
    registries = {"k8s": "https://registry.k8s.io", "mirror": "http://mirror.example:5000"}
    text = json.loads(json.dumps({"registries": registries, "rules": rules}), parse_int=str)
    config = Config.model_validate(text, context=Known(frozenset(networks), frozenset(registries)))
    ranges = {
        name: Ranges.of(map(parse_span, [spans] if isinstance(spans, str) else spans))
        for name, spans in networks.items()
    }
    names = Names(ranges, {name: parse_registry(url, name) for name, url in registries.items()})
    return (
        [compile_rule(fields, names, place, 1) for place, fields in enumerate(config.rules)],
        compile_table(config, ranges),
    )


@given(
    st.lists(rule_data(), min_size=2, max_size=8),
    st.fixed_dictionaries({name: one_or_more(*SPANS) for name in NETWORKS}),
)
def test_every_covered_rule_leads_to_the_first_that_covers_it(
    data: list[dict[str, Any]], networks: dict[str, Any]
) -> None:
    rules, table = compiled(data, networks)
    naive = []
    for place, rule in enumerate(rules):
        covering = [
            earlier for earlier in rules[:place] if earlier.conditions.covers(rule.conditions)
        ]
        naive += [(rule.name, earlier.name) for earlier in covering[:1]]
    assert [(rule.name, earlier.name) for rule, earlier in unreachable(rules, table)] == naive
