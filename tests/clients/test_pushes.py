"""Every client pushes to every kind of registry, by a relay and by redirects, as is promised."""

import pytest

from ..processes import ProgramError
from .askers import CLIENT, FRONT, writers
from .belonging import misplaced
from .conftest import Fronts
from .images import Image
from .programs import Place, Program
from .results import PUSHES
from .upstreams import Estate, Upstream
from .ways import AUTO, PUSHING, RELAY, Way

CELLS = [(way, upstream) for way, upstreams in PUSHING.items() for upstream in upstreams]


@pytest.mark.parametrize(
    ("way", "upstream"), CELLS, ids=[f"{way.name}-{upstream.label}" for way, upstream in CELLS]
)
def test_a_push(
    program: Program,
    way: Way,
    upstream: Upstream,
    fronts: Fronts,
    estate: Estate,
    images: dict[Upstream, Image],
    elsewhere: Place,
    afresh: Place,
) -> None:
    """Each push ends as the table says; what was pushed is there, and comes back as it is."""
    front, name = fronts(way, upstream), f"{upstream.label}/{way.name}-{program.name}:pushed"
    since = estate.position()

    if fails := PUSHES.get((way.name, upstream.label, program.name)):
        with pytest.raises(ProgramError, match=fails.says):
            program.push(elsewhere, front, images[upstream], name, upstream.account)
    else:
        pushed = program.push(elsewhere, front, images[upstream], name, upstream.account)
        # A relay does not let go of a client that has once been told where uploads go.
        writer = FRONT if way in (RELAY, AUTO) else CLIENT
        assert writers(estate, since, upstream) == {writer}
        assert pushed == estate.digest(upstream, name)
        if way == RELAY:
            assert program.pull(afresh, front, name, upstream.account) == pushed

    assert misplaced(estate.asked(since)) == []
