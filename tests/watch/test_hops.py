"""What a path depends on."""

import os
from pathlib import Path

import pytest

from regroute.watch.hops import entries, hops


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


def beyond(root: Path, path: Path) -> list[tuple[str, str]]:
    """The hops within `root`, whose own are those that lead there."""
    found = list(hops(path))
    own = [
        (str(Path(root.root, *root.parts[1:depth])), root.parts[depth])
        for depth in range(1, len(root.parts))
    ]
    assert found[: len(own)] == own
    return [(os.path.relpath(directory, root), name) for directory, name in found[len(own) :]]


def test_a_file_depends_on_its_directories_and_its_name(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    assert beyond(root, root / "a/b/f") == [(".", "a"), ("a", "b"), ("a/b", "f")]
    assert list(hops(Path("/"))) == []


def test_a_config_map_depends_on_each_of_its_links(root: Path) -> None:
    (root / "..2024_1").mkdir()
    (root / "..2024_1/rules.yaml").write_text("rules: []")
    (root / "..data").symlink_to("..2024_1")
    (root / "rules.yaml").symlink_to("..data/rules.yaml")
    assert beyond(root, root / "rules.yaml") == [
        (".", "rules.yaml"),
        (".", "..data"),
        (".", "..2024_1"),
        ("..2024_1", "rules.yaml"),
    ]


def test_a_linked_certificate_depends_on_where_it_is_kept(root: Path) -> None:
    """As certbot has it: live/NAME/fullchain.pem -> ../../archive/NAME/fullchain1.pem."""
    (root / "live/n").mkdir(parents=True)
    (root / "archive/n").mkdir(parents=True)
    (root / "live/n/c.pem").symlink_to("../../archive/n/c1.pem")
    assert beyond(root, root / "live/n/c.pem") == [
        (".", "live"),
        ("live", "n"),
        ("live/n", "c.pem"),
        (".", "archive"),
        ("archive", "n"),
        ("archive/n", "c1.pem"),
    ]


def test_an_absolute_link_begins_anew_at_the_root(root: Path) -> None:
    (root / "a").mkdir()
    (root / "link").symlink_to(root / "a")
    found = list(hops(root / "link/f"))
    assert found[-1] == (str(root / "a"), "f")
    assert found.count(("/", root.parts[1])) == 2


def test_what_is_above_a_link_is_above_where_it_leads(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "link").symlink_to("a/b")
    assert beyond(root, root / "link/../f") == [(".", "link"), (".", "a"), ("a", "b"), ("a", "f")]


def test_what_is_missing_is_awaited_where_it_is_due(root: Path) -> None:
    (root / "link").symlink_to("gone/f")
    assert beyond(root, root / "link") == [(".", "link"), (".", "gone"), ("gone", "f")]


def test_links_in_a_circle_come_to_an_end(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    assert set(beyond(root, root / "a")) == {(".", "a"), (".", "b")}


def test_paths_together_have_each_directory_once_and_parents_first(root: Path) -> None:
    (root / "a").mkdir()
    found = entries([root / "a/f", root / "g", root / "a/h"])
    assert (found[str(root)], found[str(root / "a")]) == ({"a", "g"}, {"f", "h"})
    order = list(found)
    assert all(
        str(Path(each).parent) in order[:place] for place, each in enumerate(order) if each != "/"
    )
