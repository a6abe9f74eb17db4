"""The benchmarks' page and plot, on figures that are made up; nothing is measured here."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import plot, report
from benchmarks.machine import Machine
from benchmarks.measure import Plan
from benchmarks.registry import MANIFEST_BODY, MANIFEST_DIGEST
from benchmarks.results import Latency, Memory, Results, Sample, Spread, spread
from benchmarks.rulesets import RULES, V4_PREFIXES, V6_PREFIXES, many, two
from benchmarks.servers import NGINX, SERVERS, Job, Server, regroute
from benchmarks.workloads import BESIDE, RELAY, SETTINGS, WORKLOADS, Setting, Workload
from regroute.load import load

from .issuers import new_root, pem, pem_key

PLAN = Plan(
    servers=[one for one in SERVERS if one.name in (NGINX, "regroute", "envoy")],
    workloads=WORKLOADS[:2],
    settings=SETTINGS[:1],
    rounds=3,
    seconds=2,
    connections=1000,
)
MACHINE = Machine({"commit": "abc"}, {NGINX: "1.2.3"}, {"envoy": "pip | could not"})
SETTING, (KEEPALIVE, PATHS) = SETTINGS[0], WORKLOADS[:2]
(RELAYS,) = (setting for setting in SETTINGS if setting.relays)
(BLOB,) = (workload for workload in WORKLOADS if workload.name == "blob")
RELAY_PLAN = replace(PLAN, settings=[RELAYS], workloads=[KEEPALIVE, RELAY, BLOB, BESIDE])


def job(directory: Path, setting: Setting) -> Job:
    files = (directory / "chain.pem", directory / "key.pem", directory / "both.pem")
    registry = (10081, 10444) if setting.relays else ()
    return Job(directory, 10080, 10443, setting.rules(), setting.logs, *files, *registry)


def samples(
    server: str, *cpus: float, setting: Setting = SETTING, workload: Workload = KEEPALIVE
) -> Iterator[Sample]:
    for number, cpu in enumerate(cpus):
        yield Sample(setting.name, workload.name, server, number, cpu, 1e6 / cpu)


@pytest.fixture
def results() -> Results:
    return Results(
        samples=[*samples(NGINX, 10, 20, 12), *samples("regroute", 15, 20, 24)],
        latencies=[
            Latency("keepalive", NGINX, 0, 40_000, 200, 1000),
            Latency("keepalive", "regroute", 0, 39_000, 300, 1500),
        ],
        memories=[Memory(SETTING.name, "regroute", 60_000_000, 2500.0, 20_000.0)],
        failures=["regroute, tls (some setting): it\nended with 1"],
    )


@pytest.fixture
def relayed() -> Results:
    """A manifest in 20 µs by nginx and in 30 by regroute, a blob of 1 GB in half a second."""
    found = Results()
    for workload, nginx, ours in ((RELAY, 20, 30), (BLOB, 5e5, 11e5), (BESIDE, 8, 8)):
        found.samples += samples(NGINX, nginx, setting=RELAYS, workload=workload)
        found.samples += samples("regroute", ours, setting=RELAYS, workload=workload)
    return found


def line(page: str, *cells: str) -> str:
    """The one line of a page's tables that begins with these cells."""
    begin = f"| {' | '.join(cells)} |"
    (found,) = [line for line in page.splitlines() if line.startswith(begin)]
    return found


def test_a_spread_has_the_median_between_the_least_and_the_most() -> None:
    assert spread([9, 1, 4]) == Spread(4, 1, 9)
    assert spread([1, 2]) == Spread(1.5, 1, 2)
    assert spread([]) is None


def test_a_ratio_is_to_nginx_in_the_same_round(results: Results) -> None:
    """The median of the ratios, 1.5, and not the ratio of the medians, 20/12."""
    assert results.ratio(SETTING.name, KEEPALIVE.name, "regroute") == Spread(1.5, 1.0, 2.0)


def test_a_round_without_nginx_has_no_ratio(results: Results) -> None:
    results.samples = [one for one in results.samples if (one.server, one.round) != (NGINX, 2)]
    assert results.ratio(SETTING.name, KEEPALIVE.name, "regroute") == Spread(1.25, 1.0, 1.5)
    results.samples = [one for one in results.samples if one.server != NGINX]
    assert results.ratio(SETTING.name, KEEPALIVE.name, "regroute") is None


def test_the_page_says_what_was_found(results: Results) -> None:
    page = report.render(PLAN, results, MACHINE)
    assert line(page, "regroute", "1.50 (1.00–2.00)", "-")  # noqa: RUF001  # a range
    assert line(page, "regroute", "20.0 (15.0–24.0)", "-")  # noqa: RUF001
    assert line(page, NGINX, "83,333 (50,000–100,000)", "-")  # noqa: RUF001
    assert line(page, "regroute", KEEPALIVE.title, "300", "1,500", "1.50", "39,000")
    assert line(page, SETTING.title, "regroute", "60.0", "2.50", "20.00")
    assert "- regroute, tls (some setting): it ended with 1\n" in page


def test_the_page_says_what_it_ran_on_and_what_is_missing(results: Results) -> None:
    page = report.render(PLAN, results, MACHINE)
    assert line(page, "commit", "abc")
    assert line(page, NGINX, "1.2.3")
    assert "**envoy is missing**: pip | could not." in page
    assert "| envoy |" not in page


def test_every_row_of_a_table_has_as_many_cells_as_its_head(results: Results) -> None:
    tables = report.render(PLAN, results, MACHINE).split("\n\n")
    rows = [part.splitlines() for part in tables if part.startswith("|")]
    assert len(rows) == 7
    for table in rows:
        assert len({row.count("|") for row in table}) == 1, table


def test_the_plot_is_well_formed_and_has_a_bar_for_each_server(results: Results) -> None:
    picture = ElementTree.fromstring(plot.render(results, PLAN))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in picture.iter(f"{space}text")]
    assert KEEPALIVE.title in texts
    assert PATHS.title not in texts, "nothing was measured"
    assert {NGINX, "regroute", "12.0", "20.0 (1.50×)"} <= {*texts}  # noqa: RUF001  # times
    _, nginx, regroute = (float(bar.attrib["width"]) for bar in picture.iter(f"{space}rect"))
    assert nginx / regroute == pytest.approx(12 / 20, rel=0.01)


def test_what_is_relayed_is_shown_by_the_request_or_by_the_gigabyte(relayed: Results) -> None:
    page = report.render(RELAY_PLAN, relayed, MACHINE)
    assert line(page, "CPU a request, µs", RELAY.title, BESIDE.title)
    assert line(page, "regroute", "30.0", "8.0")
    assert line(page, "regroute", "33,333", "125,000")
    assert line(page, "CPU a GB, s", BLOB.title)
    assert line(page, NGINX, "0.500")
    assert line(page, "regroute", "909")
    assert KEEPALIVE.title not in line(page, "CPU, as a multiple of nginx's")


def test_the_page_has_the_goal_beside_what_was_reached(relayed: Results) -> None:
    page = report.render(RELAY_PLAN, relayed, MACHINE)
    assert line(page, "regroute", "1.50", "2.20", "1.00")
    assert line(page, "*goal of regroute: at most*", "2.00", "2.00", "-")


def test_the_plot_has_a_line_at_the_goal(relayed: Results) -> None:
    """At twice nginx's bar, whichever bar is the longest; none for redirects."""
    picture = ElementTree.fromstring(plot.render(relayed, RELAY_PLAN))
    space = "{http://www.w3.org/2000/svg}"
    bars = [bar.attrib for bar in picture.iter(f"{space}rect") if "x" in bar.attrib]
    lines = [path.attrib for path in picture.iter(f"{space}path")]
    dashed = [path["d"] for path in lines if "stroke-dasharray" in path]
    for at, nginx in zip(dashed, (bars[0], bars[2]), strict=True):
        x = float(at.removeprefix("M").split()[0])
        assert x - float(nginx["x"]) == pytest.approx(2 * float(nginx["width"]), abs=0.2)
    texts = [text.text for text in picture.iter(f"{space}text")]
    assert texts.count("goal: 2×") == 2  # noqa: RUF001  # times
    assert {RELAYS.title, f"{BLOB.title}, in ms a GB", "1,100 (2.20×)"} <= {*texts}  # noqa: RUF001


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_workload_is_measured_where_what_it_asks_for_is_served(setting: Setting) -> None:
    """Relayed things where servers relay; the redirects' page stays what it was."""
    plan = replace(PLAN, settings=SETTINGS, workloads=WORKLOADS)
    names = [workload.name for workload in plan.under(setting)]
    assert ("relay" in names) is setting.relays
    assert ("keepalive" in names) is not setting.relays
    assert ("tls-resumed" in names) is (setting is SETTINGS[0])


def test_the_registry_sends_a_small_manifest_and_its_digest() -> None:
    assert f"sha256:{sha256(MANIFEST_BODY).hexdigest()}" == MANIFEST_DIGEST
    assert 900 < len(MANIFEST_BODY) < 1500
    assert not {*b"$'"} & {*MANIFEST_BODY}, "nginx would read them"


def test_the_many_rules_are_the_same_in_every_run() -> None:
    rules = many()
    assert rules == many()
    prefixes = [prefix for prefix, _ in rules.pairs()]
    assert len(rules.registries) == RULES - 1, "and everyone else's"
    assert len(prefixes) == V4_PREFIXES + V6_PREFIXES
    assert all(rules.registries.values())


@pytest.mark.parametrize("version", [4, 6])
def test_no_prefix_lies_in_another_one_so_that_their_order_does_not_count(version: int) -> None:
    networks = [ip_network(prefix) for prefix, _ in [*two().pairs(), *many().pairs()]]
    ends = sorted(
        (int(network[0]), int(network[-1])) for network in networks if network.version == version
    )
    assert all(end < start for (_, end), (start, _) in pairwise(ends))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_nothing_is_left_to_fill_in(server: Server, setting: Setting, tmp_path: Path) -> None:
    command = server.command(Path("/bin/server"), job(tmp_path, setting))
    assert command[0] == "/bin/server"
    assert str(tmp_path / server.template) in command
    for text in [*command, *(file.read_text() for file in tmp_path.iterdir())]:
        assert "<<" not in text


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_regroute_gets_a_good_configuration_with_all_rules(
    setting: Setting, tmp_path: Path
) -> None:
    certificate = new_root().issue("registry.example")
    (tmp_path / "chain.pem").write_bytes(pem(*certificate.chain))
    (tmp_path / "key.pem").write_bytes(pem_key(certificate.key))
    regroute(more="limits: {drain: 1s}").command(Path("twistd"), job(tmp_path, setting))
    checked = load(tmp_path / "regroute.yaml")
    relayed = [
        name for name, registry in checked.config.registries.items() if registry.mode == "relay"
    ]
    assert relayed == (["private", "sealed"] if setting.relays else [])
    expected = len(setting.rules().registries) + 1 + len(relayed)
    assert len(checked.config.rules) == expected
    assert checked.config.limits.drain == 1.0
    assert (checked.config.access_log != "none") is setting.logs
