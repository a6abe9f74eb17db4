"""docs/clients.md is what the results say, and those are about the programs that are here."""

from .page import PAGE, render
from .programs import PROGRAMS, Place, Program
from .results import PULLS, PUSHES, VERSIONS
from .ways import PULLING, PUSHING


def test_the_page_is_up_to_date() -> None:
    """Whoever changes a result, or the words around them, writes the page anew."""
    assert PAGE.read_text() == render(), "python -m tests.clients.page writes it"


def test_the_results_are_about_cells_that_are_tested() -> None:
    """No failure is promised of what nobody tries."""
    clients = [program.name for program in PROGRAMS]
    assert list(VERSIONS) == clients
    for cells, failures in ((PULLING, PULLS), (PUSHING, PUSHES)):
        tested = {
            (way.name, upstream.label, client)
            for way, upstreams in cells.items()
            for upstream in upstreams
            for client in clients
        }
        assert set(failures) <= tested


def test_the_results_are_about_the_versions_that_are_tested(
    program: Program, elsewhere: Place
) -> None:
    """With another version of a client it is another result, even if it is the same."""
    assert program.version(elsewhere).startswith(f"{VERSIONS[program.name]}.")
