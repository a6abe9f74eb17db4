"""Whose a host is."""

import pytest

from regroute.owners import host_of, is_this_machine, owner


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Registry.example", "registry.example"),
        ("http://r.example:5000", "r.example"),
        ("https://r.example:8443/token:x", "r.example"),
        ("http://[2001:DB8::1]:5000/x", "2001:db8::1"),
        ("http://127.0.0.1:5000", "127.0.0.1"),
    ],
)
def test_the_host_of_a_url(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("example.com", "example.com"),
        ("registry.example.com.", "example.com"),
        ("a.b.c.example.com", "example.com"),
        ("registry.example.co.uk", "example.co.uk"),
        ("example.co.uk", "example.co.uk"),
        ("registry.ii.coop", "ii.coop"),
        ("ghcr.io", "ghcr.io"),
        ("a.ghcr.io", "ghcr.io"),
        ("registry.k8s.io", "k8s.io"),
        ("gcr.io", "gcr.io"),
        ("k8s.gcr.io", "gcr.io"),
        ("a.example.nz", "example.nz"),
        ("192.0.2.1", "192.0.2.1"),
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_what_of_a_host_its_owner_has_registered(host: str, name: str) -> None:
    assert owner(host) == name


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("registry.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("registry.example", False),
    ],
)
def test_what_stays_on_this_machine(host: str, is_here: bool) -> None:
    assert is_this_machine(host) == is_here
