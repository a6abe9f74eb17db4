"""What a registry asks for, by its answer."""

import pytest

from regroute.relay.token.demand import Basic, Bearer, Demand, Open, Unusable, read_demand

HTTPS, HTTP, PRIVATE = "https://r.example", "http://r.example", "https://10.0.0.5:5000"


def read(status: int, *lines: str, registry: str = HTTPS) -> Demand | None:
    return read_demand(registry, status, [line.encode("latin-1") for line in lines])


@pytest.mark.parametrize(
    ("status", "demand"),
    [
        *((status, Open()) for status in (200, 204)),
        *((status, Open(is_certain=False)) for status in (301, 307, 400, 403, 404, 405, 451)),
        *((status, None) for status in (408, 425, 429, 500, 502, 503, 504, 599)),
    ],
)
def test_only_a_401_asks_for_credentials(status: int, demand: Demand | None) -> None:
    """A challenge in any other answer is none (RFC 9110 §11.6.1)."""
    assert read(status) == read(status, "Basic realm=x") == demand


@pytest.mark.parametrize(
    ("lines", "demand"),
    [
        (["Basic realm=x"], Basic()),
        (['Bearer realm="https://auth.example/t"'], Bearer("https://auth.example", "/t")),
        (
            ['Bearer realm="https://auth.example/t?x=y",service="r.example",scope="a:b:c"'],
            Bearer("https://auth.example", "/t?x=y", "r.example"),
        ),
        (
            ["Negotiate, Basic realm=x", 'Bearer realm="https://auth.example/t"'],
            Bearer("https://auth.example", "/t"),
        ),
        (['Bearer realm="http://auth.example/t", Basic realm=x'], Basic()),
    ],
)
def test_the_best_challenge_counts(lines: list[str], demand: Demand) -> None:
    assert read(401, *lines) == demand


@pytest.mark.parametrize("lines", [[], ["Negotiate"], ['Basic realm="x'], ["Digest realm=x"]])
def test_a_401_that_nobody_can_follow_is_told_as_that(lines: list[str]) -> None:
    demand = read(401, *lines)
    assert isinstance(demand, Unusable)
    assert "challenge: keep" in demand.why


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        (HTTPS, "https://r.example/token"),
        (HTTPS, "https://auth.example:8443/token"),
        (HTTPS, "https://8.8.8.8/token"),
        (HTTP, "http://auth.example/token"),
        (HTTP, "https://auth.example/token"),
        (PRIVATE, "https://10.0.0.6/token"),
        (PRIVATE, "https://localhost/token"),
        (PRIVATE, "https://auth.example/token"),
        ("https://localhost:5000", "https://localhost:5001/token"),
        ("http://127.0.0.1:5000", "http://[::1]/token"),
    ],
)
def test_a_realm_that_credentials_may_go_to(registry: str, realm: str) -> None:
    demand = read(401, f'Bearer realm="{realm}"', registry=registry)
    assert isinstance(demand, Bearer)
    assert demand.realm == realm


@pytest.mark.parametrize(
    ("realm", "why"),
    [
        ("", "no http"),
        ("/token", "no http"),
        ("ftp://auth.example/token", "no http"),
        ("http://r.example/token", "http, and the registry is https"),
        ("https://user@auth.example/token", "without a user"),
        ("https://auth.example/token#x", "fragment"),
        ("https://auth.example/to ken", "printable"),
        ("https://auth.ex\xe4mple/token", "printable"),
        ("https:///token", "no valid host"),
        ("https://auth.example:0/token", "no valid port"),
        ("https://localhost/token", "of this network"),
        ("https://127.0.0.1/token", "of this network"),
        ("https://[::1]/token", "of this network"),
        ("https://[::ffff:10.0.0.1]/token", "of this network"),
        ("https://169.254.169.254/latest/meta-data", "of this network"),
        ("https://192.168.0.1/token", "of this network"),
        ("https://2130706433/token", "no address"),
        ("https://0x7f.1/token", "no address"),
        ("https://auth.example/" + "x" * 2048, "longer"),
    ],
)
def test_a_hostile_realm_is_not_gone_to(realm: str, why: str) -> None:
    demand = read(401, f'Bearer realm="{realm}"')
    assert isinstance(demand, Unusable)
    assert why in demand.why
    assert demand.why.isprintable()


@pytest.mark.parametrize("service", ["x" * 257, "a\tb"])
def test_a_hostile_service_is_refused(service: str) -> None:
    line = f'Bearer realm="https://auth.example/t",service="{service}"'
    assert isinstance(read(401, line), Unusable)
