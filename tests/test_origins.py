"""Origins: one form for each, so that a credential's can be compared."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regroute.origins import normal_origin, split_url


@pytest.mark.parametrize(
    ("url", "origin", "rest"),
    [
        ("https://r.example", "https://r.example", "/"),
        ("HTTPS://R.Example.:443/a?b", "https://r.example", "/a?b"),
        ("http://r.example:80/", "http://r.example", "/"),
        ("http://r.example:443", "http://r.example:443", "/"),
        ("https://r.example:05000/", "https://r.example:5000", "/"),
        ("https://r.example:", "https://r.example", "/"),
        ("https://r.example?x=y", "https://r.example", "/?x=y"),
        ("https://[2001:DB8:0::1]:5000/", "https://[2001:db8::1]:5000", "/"),
        ("https://[::ffff:10.0.0.1]/", "https://10.0.0.1", "/"),
        ("https://10.0.0.1/", "https://10.0.0.1", "/"),
    ],
)
def test_a_url_has_an_origin_in_one_form(url: str, origin: str, rest: str) -> None:
    found, path = split_url(url)
    assert (str(found), path) == (origin, rest)
    assert normal_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "r.example",
        "//r.example/",
        "/token",
        "ftp://r.example/",
        "javascript:alert(1)",
        "https:r.example",
        "https:///token",
        "https://:443/",
        "https://user@r.example/",
        "https://r.example:443@evil.example/",
        "https://r.example\\@evil.example/",
        "https://r.example/#x",
        "https://r.example#@evil.example/",
        "https://r.example/a b",
        "https://r.example/\r\nX: y",
        "https://r.example/\x7f",
        "https://r.exämple/",
        "https://r.ex%61mple/",
        "https://r.example:0/",
        "https://r.example:65536/",
        "https://r.example:9999999999999999999999/",
        "https://r.example:x/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://[10.0.0.1]/",
        "https://127.1/",
        "https://127.0.0.01/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.0x1/",
        "https://1.2.3.4.5/",
        "https://r.example.0/",
        "https://10.0.0.1..",
    ],
)
def test_a_url_that_two_readers_take_for_two_things_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"^its? "):
        split_url(url)


@pytest.mark.parametrize(
    ("host", "is_within"),
    [
        ("r.example", False),
        ("8.8.8.8", False),
        ("[2606:4700::1111]", False),
        ("localhost", True),
        ("a.localhost", True),
        ("localhost.", True),
        ("notlocalhost", False),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("10.0.0.1", True),
        ("172.16.0.1", True),
        ("192.168.0.1", True),
        ("169.254.169.254", True),
        ("100.64.0.1", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("[::]", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("[::ffff:8.8.8.8]", False),
        ("[fe80::1]", True),
        ("[fd00::1]", True),
        ("[ff02::1]", True),
    ],
)
def test_an_address_of_this_network_is_told_from_others(host: str, is_within: bool) -> None:
    assert split_url(f"https://{host}/")[0].is_within is is_within


@given(st.ip_addresses(), st.integers(1, 65535), st.sampled_from(["http", "https"]))
def test_an_address_is_the_same_however_it_is_written(
    address: IPv4Address | IPv6Address, port: int, scheme: str
) -> None:
    texts = [str(address)]
    if isinstance(address, IPv6Address):
        texts = [f"[{address}]", f"[{address.exploded}]", f"[{address}]".upper()]
    origins = {normal_origin(f"{scheme}://{text}:{port}") for text in texts}
    assert len(origins) == 1
    assert normal_origin(origins.pop()) == normal_origin(f"{scheme}://{texts[0]}:{port}/x")


@given(st.text("htps:/.@#?[]%\\ra0x1é\n", max_size=24).map(lambda text: f"https://{text}"))
def test_any_text_has_an_origin_that_is_its_own_or_none(text: str) -> None:
    """An origin that is found is a stable one, and nothing of the path and query is lost."""
    try:
        origin, rest = split_url(text)
    except ValueError:
        return
    assert split_url(f"{origin}{rest}") == (origin, rest)
    assert "@" not in str(origin)
    assert text.endswith(rest.removeprefix("/"))
