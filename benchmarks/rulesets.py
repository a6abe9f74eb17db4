"""The rules that every server gets: two, or 300 over 16,000 prefixes, the same in every run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from random import Random

OTHERWISE = "https://k8s.gcr.io"
RULES = 300
V4_PREFIXES = 10_500
V6_PREFIXES = 5_500

# How often which prefix length occurs in a large cloud's published list, in hundredths.
_V4_LENGTHS = {14: 1, 15: 2, 16: 5, 17: 1, 18: 1, 20: 2, 21: 3, 22: 6, 23: 7, 24: 22, 25: 3}
_V4_LENGTHS |= {26: 6, 27: 4, 28: 4, 29: 6, 30: 2, 31: 6, 32: 19}
_V6_LENGTHS = {36: 7, 39: 2, 40: 45, 47: 3, 48: 20, 56: 14, 60: 4, 64: 3, 65: 1, 128: 1}


@dataclass(frozen=True)
class Rules:
    """Who is sent where: the prefixes of each registry, and the registry of everyone else."""

    name: str
    registries: Mapping[str, tuple[str, ...]]
    otherwise: str = OTHERWISE

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Each prefix with its registry; no prefix lies in another."""
        for registry, prefixes in self.registries.items():
            for prefix in prefixes:
                yield prefix, registry


def two() -> Rules:
    """The rules that regroute began with."""
    return Rules("two", {"https://registry-1.docker.io": ("192.168.0.1",)})


def many() -> Rules:
    """A rule for each of 299 sets of addresses, such as a cloud's regions have, and one more."""
    random = Random("16,000 prefixes")
    registries: dict[str, list[str]] = {
        f"https://registry-{number}.example": [] for number in range(1, RULES)
    }
    names = list(registries)
    prefixes = [*_v4_prefixes(random), *_v6_prefixes(random)]
    for number, prefix in enumerate(prefixes):
        name = names[number] if number < len(names) else random.choice(names)
        registries[name].append(prefix)
    return Rules("many", {name: tuple(chosen) for name, chosen in registries.items()})


def _v4_prefixes(random: Random) -> Iterator[str]:
    # From 11.0.0.0 on: neither this machine nor a private network is among them.
    for start, length in _spread(random, 11 << 24, 32, _V4_LENGTHS, V4_PREFIXES):
        yield str(IPv4Network((start, length)))


def _v6_prefixes(random: Random) -> Iterator[str]:
    for start, length in _spread(random, 0x2600 << 112, 128, _V6_LENGTHS, V6_PREFIXES):
        yield str(IPv6Network((start, length)))


def _spread(
    random: Random, start: int, bits: int, lengths: Mapping[int, int], count: int
) -> Iterator[tuple[int, int]]:
    """Prefixes of these lengths one after the other, some with a gap before them."""
    drawn = random.choices(list(lengths), weights=list(lengths.values()), k=count)
    for length in drawn:
        size = 1 << (bits - length)
        start = -(-start // size) * size + random.choice((0, 0, 1)) * size
        yield start, length
        start += size
