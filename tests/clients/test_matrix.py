"""Every client pulls from every kind of registry by every way, with the result that is promised."""

import pytest

from ..processes import ProgramError
from .askers import askers, promised, with_kept_tokens
from .belonging import misplaced
from .conftest import Fronts
from .images import Image
from .programs import Place, Program
from .results import PULLS
from .upstreams import Estate, Upstream
from .ways import ACCOUNT, ANONYMOUS, PULLING, Way

CELLS = [(way, upstream) for way, upstreams in PULLING.items() for upstream in upstreams]


@pytest.mark.parametrize(
    ("way", "upstream"), CELLS, ids=[f"{way.name}-{upstream.label}" for way, upstream in CELLS]
)
def test_a_pull(
    program: Program,
    way: Way,
    upstream: Upstream,
    fronts: Fronts,
    estate: Estate,
    images: dict[Upstream, Image],
    elsewhere: Place,
) -> None:
    """Each pull ends as the table says, and no credential comes where it does not belong."""
    front, image = fronts(way, upstream), images[upstream]
    # Where the front has an account, or asks as nobody, its clients need none and have none.
    credentials = None if way in (ANONYMOUS, ACCOUNT) else upstream.reader
    since = estate.position()

    if fails := PULLS.get((way.name, upstream.label, program.name)):
        with pytest.raises(ProgramError, match=fails.says):
            program.pull(elsewhere, front, image.reference, credentials)
    else:
        assert program.pull(elsewhere, front, image.reference, credentials) == image.manifest
        found = with_kept_tokens(askers(estate, since, upstream), way, upstream)
        assert found == promised(way, upstream, program)

    assert misplaced(estate.asked(since)) == []
