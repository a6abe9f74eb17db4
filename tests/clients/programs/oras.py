"""oras: a Python library, which a script of ours drives in a process of its own."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ..front import Front
from ..images import Image
from .program import Credentials, Place, Program

_SCRIPT = Path(__file__).with_name("oras_script.py")


@dataclass(frozen=True)
class Oras:
    """The library, with credentials that it sends to token servers and, by Basic, to registries."""

    place: Place
    front: Front
    credentials: Credentials | None

    def command(self, command: str, name: str, *argv: str) -> str:
        """What the script printed for a command about a name at the front."""
        asked = {
            "host": self.front.host,
            "insecure": not self.front.secure,
            "user": self.credentials and [self.credentials.user, self.credentials.password],
        }
        # The directory of the script is not searched for modules, for its neighbour is named oras.
        python = [sys.executable, "-I", str(_SCRIPT)]
        return self.place.run(*python, json.dumps(asked), command, name, *argv)

    def pull(self, name: str) -> str:
        return self.command("pull", name, str(self.place.directory / "pulled")).strip()

    def push(self, image: Image, name: str) -> str:
        files = [str(image.layout / "blobs" / digest.replace(":", "/")) for digest in image.blobs]
        return self.command("push", name, *files).strip()

    def copy(self, name: str, new: str) -> str:
        return self.command("copy", name, new, str(self.place.directory / "copied")).strip()

    def attach(self, name: str, subject: str, file: Path) -> str:
        """Push a file that refers to the image with the digest; the digest of its own manifest."""
        return self.command("attach", name, subject, str(file)).strip()

    def tags(self, repository: str) -> list[str]:
        """All tags, page after page."""
        return self.command("tags", repository).split()

    def referrers(self, repository: str, digest: str) -> list[str]:
        """The digests of all manifests that refer to this one, page after page."""
        return self.command("referrers", repository, digest).split()


@contextmanager
def _session(place: Place, front: Front, credentials: Credentials | None) -> Iterator[Oras]:
    yield Oras(place, front, credentials)


def _version(place: Place) -> str:
    return version("oras")


ORAS = Program(
    "oras",
    {},
    _version,
    logs_in=False,
    session=_session,
    distrusts=("CERTIFICATE_VERIFY_FAILED", "host='{front.name}'"),
    refers=False,
)
