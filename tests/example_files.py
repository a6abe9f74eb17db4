"""The example files where they can be loaded: beside certificates and passwords for those that
name them.
"""

import atexit
import shutil
from pathlib import Path
from tempfile import mkdtemp

from .issuers import new_root, pem, pem_key

ROOT = Path(__file__).parents[1]


def _copied() -> Path:
    """A copy of ``etc`` that lasts as long as the tests do."""
    directory = Path(mkdtemp(prefix="regroute-etc-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    shutil.copytree(ROOT / "etc", directory / "etc")
    (directory / "etc/examples/private.password").write_text("a secret\n")
    tls = directory / "etc/examples/tls"
    tls.mkdir()
    root = new_root()
    for name in ("front", "mirror"):
        certificate = root.issue(f"{name}.example")
        (tls / f"{name}.pem").write_bytes(pem(*certificate.chain))
        (tls / f"{name}.key").write_bytes(pem_key(certificate.key))
    return directory / "etc"


_ETC = _copied()
EXAMPLES = [_ETC / "rules.yaml", *sorted((_ETC / "examples").glob("*.yaml"))]
