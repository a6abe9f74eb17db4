"""What was pulled is pushed by another name: clients ask the registry to mount its layers."""

import pytest

from ..processes import ProgramError
from .belonging import misplaced
from .conftest import Fronts
from .images import Image
from .programs import ORAS, Place, Program
from .results import PUSHES
from .upstreams import BASIC, HUB, OPEN, Estate, Upstream
from .ways import RELAY


@pytest.mark.parametrize("upstream", [OPEN, HUB, BASIC], ids=lambda upstream: upstream.label)
def test_a_copy_within_a_registry(
    program: Program,
    upstream: Upstream,
    fronts: Fronts,
    estate: Estate,
    images: dict[Upstream, Image],
    elsewhere: Place,
) -> None:
    """Layers are mounted from the other repository, by a token for both; only oras sends them."""
    image, since = images[upstream], estate.position()
    front, new = fronts(RELAY, upstream), f"{upstream.label}/copied-by-{program.name}:1"

    with program.session(elsewhere, front, upstream.account) as session:
        if fails := PUSHES.get((RELAY.name, upstream.label, program.name)):
            with pytest.raises(ProgramError, match=fails.says):
                session.copy(image.reference, new)
            return
        copied = session.copy(image.reference, new)

    assert copied == estate.digest(upstream, new)
    asked = [each for each in estate.asked(since) if f"/copied-by-{program.name}/" in each.path]
    mounts = [each for each in asked if "mount=" in each.target]
    sent = [each for each in asked if each.method == "PUT" and "/blobs/uploads/" in each.path]
    # The configuration is a blob too, which some send anew.
    assert (len(mounts) >= 2, len(sent) <= 1) == ((program != ORAS,) * 2)
    assert misplaced(estate.asked(since)) == []
