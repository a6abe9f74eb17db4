"""What the tests here stand on: one machine for all of them, and a service anew for each."""

from collections.abc import Iterator

import pytest

from ..clients.authority import Authority, new_authority
from ..tree import clone
from .bed import Bed, booted, impossible
from .guide import commands
from .service import Service


@pytest.fixture(scope="session")
def bed(interruptible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A machine with the program, as docs/installation.md installs it.

    A skip where there can be none.
    """
    if reason := impossible():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("systemd")
    tree = clone(directory / "tree")
    # The packages are provision.sh's part.
    get_packages, _, install = commands("## 1. The program").partition("\n")
    assert get_packages.startswith("apt-get install ")
    with booted(tree, install, directory) as machine:
        yield machine


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who has issued the service's certificates."""
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def installed(bed: Bed, authority: Authority) -> Iterator[Service]:
    """The units as they come, not started, and nothing that an earlier test has left.

    Where a test fails, the journal is shown.
    """
    service = Service(bed, authority)
    service.install()
    yield service
    print(service.log())


@pytest.fixture
def service(installed: Service) -> Service:
    """The service as the guide starts it."""
    installed.enable()
    return installed
