"""The servers, each with one worker: how their configurations are written and how they start."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .rulesets import Rules
from .workloads import Setting, Workload

CONFIGS = Path(__file__).with_name("configs")
TWISTD = Path(sys.executable).with_name("twistd")


@dataclass(frozen=True)
class Job:
    """What a server is to serve, and where; it may write into its directory."""

    directory: Path
    port: int
    tls_port: int
    rules: Rules
    logs: bool
    certificate: Path
    key: Path
    both: Path
    """The certificate and its key in one file."""
    registry: int | None = None
    """The port of the registry that it is to relay to, if it is to relay."""
    sealed: int | None = None
    """That registry's port for TLS."""

    @property
    def log(self) -> Path:
        """The access log."""
        return self.directory / "access.log"


Values = Mapping[str, object]


@dataclass(frozen=True)
class Server:
    """A server: its template among `configs/`, what it fills in, and its arguments."""

    name: str
    program: str
    template: str
    arguments: tuple[str, ...]
    """`<<config>>` stands for the configuration's path."""
    values: Callable[[Job], Values]
    only: Callable[[Setting, Workload], bool] = lambda setting, workload: True
    """What it is measured under."""
    is_token_own: bool = False
    """What is relayed is asked for with a token of its own token endpoint."""

    def command(self, program: Path, job: Job) -> list[str]:
        """Write its configuration; returns the command that serves it in the foreground."""
        config = job.directory / self.template
        places = {name: str(value) for name, value in vars(job).items()}
        places |= {"config": str(config), "otherwise": job.rules.otherwise}
        # Lines that begin with it are for relays alone; they all write comments in this way.
        places["relay"] = "# " if job.registry is None else ""
        config.write_text(fill(self.template, {**places, **self.values(job)}))
        return [str(program), *(_fill(argument, places) for argument in self.arguments)]


def fill(template: str, values: Values) -> str:
    """One of `configs/`, with values in place of their names in `<<name>>`."""
    return _fill((CONFIGS / template).read_text(), values)


def _fill(text: str, values: Values) -> str:
    return re.sub(r"<<(\w+)>>", lambda match: str(values[match[1]]), text)


def _pairs(job: Job, name: str, end: str) -> None:
    lines = [f"{prefix} {registry}{end}\n" for prefix, registry in job.rules.pairs()]
    (job.directory / name).write_text("".join(lines))


def _nginx(accepting: str, buffering: str) -> Callable[[Job], Values]:
    def values(job: Job) -> Values:
        _pairs(job, "rules.geo", ";")
        log = f"access_log {job.log} combined buffer=64k;" if job.logs else "access_log off;"
        return {"log": log, "accepting": accepting, "buffering": buffering}

    return values


def _haproxy(job: Job) -> Values:
    _pairs(job, "rules.map", "")
    return {
        "log": "log stdout format raw local0" if job.logs else "",
        "log_requests": "log global\n    option httplog" if job.logs else "",
    }


def _caddy(job: Job) -> Values:
    lines = []
    for number, (registry, prefixes) in enumerate(job.rules.registries.items()):
        lines.append(f"\t\t@{number} client_ip {' '.join(prefixes)}")
        lines.append(f"\t\tredir @{number} {registry}{{uri}} 302")
    log = f"log {{\n\t\toutput file {job.log}\n\t}}" if job.logs else ""
    return {"log": log, "rules": "\n".join(lines)}


_ENVOY_LOG = (
    "access_log: [{name: log, typed_config: {path: %s, "
    '"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog}}]'
)


def _envoy(job: Job) -> Values:
    return {"log": _ENVOY_LOG % job.log if job.logs else ""}


def _regroute(more: str, challenge: str) -> Callable[[Job], Values]:
    def values(job: Job) -> Values:
        networks, rules = [], []
        for number, (registry, prefixes) in enumerate(job.rules.registries.items()):
            (job.directory / f"{number}.txt").write_text("\n".join(prefixes) + "\n")
            networks.append(f"  n{number}: {{file: {number}.txt}}")
            rules.append(f"  - {{client: n{number}, to: '{registry}'}}")
        log = f"{{path: '{job.log}'}}" if job.logs else "none"
        return {
            "log": log,
            "more": f"{more}\nadmin: {{unix: admin.sock}}" if job.logs else more,
            "challenge": challenge,
            "networks": "\n".join(networks),
            "rules": "\n".join(rules),
        }

    return values


def regroute(name: str = "regroute", *, more: str = "", challenge: str = "keep") -> Server:
    """A regroute; variants have `more` lines of configuration, or challenges of their own."""
    return Server(
        name,
        "twistd",
        "regroute.yaml",
        ("-n", "--pidfile=", "regroute", "--config", "<<config>>"),
        _regroute(more, challenge),
    )


def _regroute_token() -> Server:
    """A regroute with a token endpoint of its own, whose tokens it unwraps."""
    return replace(
        regroute("regroute-token", challenge="own"),
        only=lambda setting, workload: workload.goal is not None and not workload.is_blob,
        is_token_own=True,
    )


def _nginx_server(
    name: str,
    only: Callable[[Setting, Workload], bool],
    *,
    accepting: str = "",
    buffering: str = "",
) -> Server:
    arguments = ("-p", "<<directory>>", "-c", "<<config>>", "-e", "<<directory>>/error.log")
    return Server(name, "nginx", "nginx.conf", arguments, _nginx(accepting, buffering), only)


NGINX = "nginx"
"""What all others are compared with."""

SERVERS = (
    _nginx_server(NGINX, lambda setting, workload: True),
    _nginx_server(
        "nginx-deferred",
        lambda setting, workload: workload.is_new and not workload.once,
        accepting=" deferred",
    ),
    _nginx_server(
        "nginx-unbuffered",
        lambda setting, workload: workload.is_blob,
        buffering="proxy_buffering off;",
    ),
    regroute(),
    _regroute_token(),
    Server("haproxy", "haproxy", "haproxy.cfg", ("-db", "-f", "<<config>>"), _haproxy),
    Server(
        "caddy",
        "caddy",
        "Caddyfile",
        ("run", "--adapter", "caddyfile", "--config", "<<config>>"),
        _caddy,
    ),
    Server(
        "envoy",
        "envoy",
        "envoy.yaml",
        ("--concurrency", "1", "--disable-hot-restart", "--log-level", "off", "-c", "<<config>>"),
        _envoy,
        # Its Lua knows one address.
        lambda setting, workload: setting.rules().name == "two",
    ),
)
