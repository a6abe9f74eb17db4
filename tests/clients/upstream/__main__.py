"""Serve what the settings in the file say: python -m tests.clients.upstream FILE."""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.web.server import Site
from twisted.web.vhost import NameVirtualHost

from .capture import Captured
from .forward import Registry
from .names import ByName
from .settings import Settings, read_settings
from .storage import Storage
from .tokens import TokenServer

# It is a module that has the methods of the reactor that was chosen, which no type can tell.
reactor: Any = _reactor


def site(settings: Settings) -> Site:
    """Every host that is served, and nothing for any other."""
    hosts = NameVirtualHost()
    for name, registry in settings.registries.items():
        hosts.addHost(name.encode(), Registry(reactor, registry))
    for name, tokens in settings.token_servers.items():
        hosts.addHost(name.encode(), TokenServer(tokens))
    for name, storage in settings.storages.items():
        hosts.addHost(name.encode(), Storage(Path(storage.directory)))
    return Site(hosts, requestFactory=Captured)


def main() -> None:
    settings = read_settings(Path(sys.argv[1]))
    reactor.listenSSL(settings.port, site(settings), ByName(settings.certificates))
    reactor.run()


if __name__ == "__main__":
    main()
