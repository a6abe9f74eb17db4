"""The published schema and the checker are one: an editor and `check` agree about the form."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from regroute.cli import main
from regroute.config.faults import Faulty

from ..example_files import EXAMPLES
from ..issuers import new_root, pem
from ..making import checked


@pytest.fixture(scope="module")
def validator() -> Any:
    published = json.loads(CliRunner().invoke(main, ["schema"]).stdout)
    kind = jsonschema.validators.validator_for(published)
    kind.check_schema(published)
    return kind(published)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_fits_the_schema(validator: Any, path: Path) -> None:
    validator.validate(yaml.safe_load(path.read_text()))


HUB = "{url: https://registry-1.docker.io,"
RELAYED = f"registries: {{k8s: {HUB} mode: relay}}}}"

# Each is put in the place of X in a configuration that is good without it.
GOOD = [
    "listen: [{port: 80}]",
    'listen: [{port: "80", host: "::1"}]',
    "clients: {trusted_proxies: 10.0.0.0/8, header: CF-Connecting-IP}",
    "clients: {trusted_proxies: [10.0.0.1-10.0.0.9, '::1', office]}",
    "networks: {a: 10.0.0.1, b: [10.0.0.0/8, '2001:db8::/32'], c: {file: list.txt}}",
    "registries: {k8s: https://registry.k8s.io, r: {url: 'http://r.example:5000/team/x'}}",
    f"registries: {{k8s: {HUB} mode: redirect}}}}",
    f"registries: {{k8s: {HUB} mode: relay}}}}",
    f"registries: {{k8s: {HUB} mode: relay, challenge: keep, blobs: redirect}}}}",
    f"registries: {{k8s: {HUB} mode: relay, challenge: own, blobs: stream, forwarded: true}}}}",
    f"registries: {{k8s: {HUB} mode: relay, auth: anonymous, blobs: redirect}}}}",
    f"registries: {{a: {HUB} mode: relay, auth: {{username: u, password_file: p.txt}}}}}}",
    f"registries: {{k8s: {HUB} mode: auto, redirected: 'containerd/*', ca: ca.pem}}}}",
    f"registries: {{k8s: {HUB} mode: auto, redirected: ['a/*', b], forwarded: false}}}}",
    f"registries: {{k8s: {HUB} mode: auto, redirected: []}}}}",
    f"registries: {{k8s: {HUB} mode: relay, connect: 250ms, idle: 5m, connections: 8}}}}",
    "registries: {k8s: {url: 'http://r.example:5000', mode: relay}}",
    "token: {realm: 'https://front.example:8443/auth/token'}",
    "token: {realm: 'http://127.0.0.1:10000/token'}",
    "token: {realm: 'https://front.example/a..b/.token/%7Ex'}",
    f"{RELAYED}\ntoken: {{login: k8s}}",
    f"{RELAYED}\ntoken: {{login: [k8s], realm: 'https://front.example/token'}}",
    "listen: [{port: 443, proxy_protocol: true}, {socket: https}, {unix: /run/r.sock}]",
    "access_log: none",
    "access_log: {path: a.log, format: combined, client: prefix}",
    "limits: {head: 500ms, idle: 1.5m, head_size: 16KiB, connections: 100, drain: 0s}",
    "limits: {connections: auto}",
    "admin: {port: 9464}",
    "admin: {port: 9464, host: '::1'}",
    "admin: {port: 9464, host: 10.0.0.1}",
    "admin: {unix: /run/regroute/admin.sock}",
    "watch: true",
    "workers: 4",
    "workers: '256'",
    "workers: auto",
    "tests: [{path: /v2/, rule: rule-1}, {path: /, status: 302, client: '::1', host: R:80}]",
    "tests: [{path: '/v2/a/tags/list?n=1', registry: 'https://a.example', method: HEAD}]",
]
GOOD_RULES = [
    "{name: a, client: office, to: k8s}",
    "{client: [office, 10.0.0.1], host: r.example, path: [/v2, /v2/], respond: ok}",
    "{reference: 3.10, repository: library/*, user_agent: docker/*, deny: NO, status: 451}",
    "{kind: [blobs, tags], method: [GET, POST], location: 'https://x.example/?a', status: 308}",
    "{not: {client: office, not: {kind: blobs}}, namespace: docker.io, to: 'https://x.example:1'}",
]
WITHOUT_MODE = [
    "challenge: own",
    "auth: anonymous",
    "blobs: stream",
    "forwarded: false",
    "redirected: x",
    "connect: 1s",
    "idle: 1s",
    "connections: 1",
    "ca: ca.pem",
]
BAD = [
    "lissten: [{port: 80}]",
    "listen: []",
    "listen: {port: 80}",
    "listen: [{port: 0}]",
    "listen: [{port: eighty}]",
    "listen: [{host: 127.0.0.1}]",
    "listen: [{port: 80, host: localhost}]",
    "listen: [{port: 80, socket: http}]",
    "listen: [{socket: http, host: 127.0.0.1}]",
    "listen: [{port: 80, tls: }]",
    "listen: [{port: 80, tls: {certificates: []}}]",
    "listen: [{port: 80, tls: {certificates: [{certificate: a.pem}]}}]",
    "listen: [{port: 80, proxy_protocol: yep}]",
    "access_log: stderr",
    "access_log: {format: json}",
    "access_log: {path: a.log, format: xml}",
    "limits: {head: 10}",
    "limits: {connections: 1000000000}",
    "limits: {head: 10 s}",
    "limits: {head_size: 16K}",
    "limits: {connections: 0}",
    "limits: {conections: 5}",
    "listen: [{port: 80, host: 'fe80::1%lo'}]",
    "admin: {}",
    "admin: 9464",
    "admin: ",
    "admin: {port: 9464, unix: a.sock}",
    "admin: {unix: a.sock, host: 127.0.0.1}",
    "admin: {host: 127.0.0.1}",
    "admin: {port: 0}",
    "admin: {port: 9464, host: localhost}",
    "admin: {port: 9464, tls: }",
    "admin: {socket: admin}",
    "watch: yep",
    "watch: ",
    "workers: 0",
    "workers: 257",
    "workers: '1000'",
    "workers: 1.5",
    "workers: all",
    "networks: {a: {file: ' '}}",
    "clients: {header: 'x real ip'}",
    "clients: {trusted: 10.0.0.1}",
    "clients: [10.0.0.1]",
    "networks: {Office: 10.0.0.1}",
    "networks: {a: []}",
    "networks: {a: ten}",
    "networks: {a: {file: f, format: aws}}",
    "networks: {a: }",
    "registries: {k8s: registry.k8s.io}",
    "registries: {k8s: 'https://user@registry.k8s.io'}",
    "registries: {k8s: 'https://registry.k8s.io/?a'}",
    "registries: {k8s: {mode: relay}}",
    f"registries: {{k8s: {HUB} mode: proxy}}}}",
    f"registries: {{k8s: {HUB} mode: }}}}",
    f"registries: {{k8s: {HUB} mode: relay, challenge: none}}}}",
    f"registries: {{k8s: {HUB} mode: relay, auth: user}}}}",
    f"registries: {{k8s: {HUB} mode: relay, auth: {{username: u}}}}}}",
    f"registries: {{k8s: {HUB} mode: relay, auth: {{username: u, password: p}}}}}}",
    f"registries: {{k8s: {HUB} mode: relay, auth: anonymous, challenge: keep}}}}",
    f"registries: {{k8s: {HUB} mode: relay, blobs: {{}}}}}}",
    f"registries: {{k8s: {HUB} mode: relay, blobs: none}}}}",
    f"registries: {{k8s: {HUB} mode: relay, forwarded: yep}}}}",
    f"registries: {{k8s: {HUB} mode: relay, redirected: 'containerd/*'}}}}",
    f"registries: {{k8s: {HUB} mode: auto, redirected: [1, {{}}]}}}}",
    f"registries: {{k8s: {HUB} mode: relay, connect: 5}}}}",
    f"registries: {{k8s: {HUB} mode: relay, idle: -1s}}}}",
    f"registries: {{k8s: {HUB} mode: relay, connections: 0}}}}",
    f"registries: {{k8s: {HUB} mode: relay, connections: auto}}}}",
    f"registries: {{k8s: {HUB} mode: relay, ca: ' '}}}}",
    "registries: {k8s: {url: 'http://r.example', mode: relay, ca: ca.pem}}",
    *(f"registries: {{k8s: {HUB} {key}}}}}" for key in WITHOUT_MODE),
    *(f"registries: {{k8s: {HUB} mode: redirect, {key}}}}}" for key in WITHOUT_MODE),
    (
        f"registries: {{k8s: {HUB} mode: relay, blobs: redirect, "
        "auth: {username: u, password_file: p.txt}}}"
    ),
    "token: [https://front.example/token]",
    "token: {realm: front.example/token}",
    "token: {realm: 'https://front.example'}",
    "token: {realm: 'https://front.example/v2/token'}",
    "token: {realm: 'https://front.example/token?a'}",
    "token: {realm: 'https://front.example/to\"ken'}",
    "token: {realm: 'https://front.example/../token'}",
    "token: {realm: 'https://front.example/auth/.'}",
    "token: {realm: 'https://me@front.example/token'}",
    "token: {login: []}",
    "token: {login: https://registry.k8s.io}",
    "token: {secret: x}",
    "tests: [{path: /v2/}]",
    "tests: [{rule: rule-1}]",
    "tests: [{path: v2, status: 200}]",
    "tests: [{path: /v2/, status: ok}]",
    "tests: [{path: /v2/, client: ten, status: 200}]",
]
BAD_RULES = [
    "to",
    "{}",
    "{client: office}",
    "{to: k8s, deny: no}",
    "{to: k8s, deny: no, status: 307}",
    "{user_agent: '', to: k8s}",
    "{to: k8s, status: 404}",
    "{to: k8s, status: 200}",
    "{deny: no, status: 302}",
    "{respond: ok, status: 302}",
    "{respond: fine}",
    "{to: [k8s]}",
    "{to: 'ftp://x.example'}",
    "{to: }",
    "{client: [], to: k8s}",
    "{client: {a: b}, to: k8s}",
    "{kind: image, to: k8s}",
    "{method: get, to: k8s}",
    "{path: v2, to: k8s}",
    "{path: '/v2?a', to: k8s}",
    "{repository: /library, to: k8s}",
    "{name: Upper, to: k8s}",
    "{not: {}, to: k8s}",
    "{not: , to: k8s}",
    "{not: [client], to: k8s}",
    "{not: {to: k8s}, to: k8s}",
]
BASE = {
    "networks": "networks: {office: 192.168.0.0/24}",
    "registries": "registries: {k8s: https://registry.k8s.io}",
    "rules": "rules: [{to: https://a.example}]",
}


def whole(part: str) -> str:
    """A configuration with this top-level key in the place of its own."""
    key = part.partition(":")[0]
    text = "\n".join([*(line for name, line in BASE.items() if name != key), part])
    return text.replace("office]", "'::2']") if key == "networks" else text


FILES = {
    "list.txt": b"10.0.0.1\n",
    "p.txt": b"secret\n",
    "ca.pem": pem(new_root().certificate),
}


def is_good(text: str) -> bool:
    try:
        checked(text, FILES)
    except Faulty:
        return False
    return True


@pytest.mark.parametrize("part", [*GOOD, *(f"rules: [{rule}]" for rule in GOOD_RULES)])
def test_both_take_what_is_good(validator: Any, part: str) -> None:
    text = whole(part)
    assert (validator.is_valid(yaml.safe_load(text)), is_good(text)) == (True, True)


@pytest.mark.parametrize("part", [*BAD, *(f"rules: [{rule}]" for rule in BAD_RULES), "rules: []"])
def test_both_refuse_what_is_not(validator: Any, part: str) -> None:
    text = whole(part)
    assert (validator.is_valid(yaml.safe_load(text)), is_good(text)) == (False, False)
