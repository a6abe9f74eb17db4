"""The build backend: setuptools, with Twisted's plugin cache put into the wheel.

``twistd`` keeps an index of the plugins in ``twisted/plugins`` in a file beside them,
``dropin.cache``. Where there is none, or one that is not newer than each plugin, it writes the
file; a ``twistd`` that may not write there complains at every start. Nothing of ours runs when a
wheel is installed, so the file has to be in the wheel.

"Newer" takes care: pip gives each file the time at which it unpacks it, and the kernel's clock for
that ticks every 4 or 10 ms. So the plugin is the first file of the wheel, and the cache lies in
its ``.data`` directory, which pip unpacks after everything else.
"""

import base64
import csv
import hashlib
import io
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, str | list[str] | None]

PLUGINS = "twisted/plugins"
PLUGIN = "regroute_plugin"


def get_requires_for_build_wheel(config_settings: Settings | None = None) -> list[str]:
    """Twisted too: the cache names the plugins of the Twisted that the wheel is built with."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), "twisted"]


def build_wheel(
    wheel_directory: str,
    config_settings: Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel with the plugin cache in it, and return its file name."""
    # Where setuptools collects the modules; those that are gone since would be in the wheel too.
    shutil.rmtree(Path("build", "lib"), ignore_errors=True)
    name = str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))
    add_plugin_cache(Path(wheel_directory, name))
    return name


def build_editable(
    wheel_directory: str,
    config_settings: Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the editable wheel that puts this directory onto the path as it is.

    setuptools' own default maps ``twisted`` to an import hook, which Twisted's search for plugins
    does not see.
    """
    settings: Settings = {"editable_mode": "compat", **(config_settings or {})}
    return str(build_meta.build_editable(wheel_directory, settings, metadata_directory))


def add_plugin_cache(wheel: Path) -> None:
    """Rewrite the wheel: the plugin first, the cache last, and both in RECORD."""
    with ZipFile(wheel) as archive:
        contents = {member: archive.read(member) for member in archive.infolist()}
    (plugin,) = (m for m in contents if m.filename == f"{PLUGINS}/{PLUGIN}.py")
    (record,) = (m for m in contents if PurePosixPath(m.filename).match("*.dist-info/RECORD"))

    data = record.filename.removesuffix(".dist-info/RECORD") + ".data"
    cache = ZipInfo(f"{data}/purelib/{PLUGINS}/dropin.cache", plugin.date_time)
    cache.external_attr = plugin.external_attr
    cache.compress_type = ZIP_DEFLATED
    contents[cache] = plugin_cache(contents[plugin])

    between = [member for member in contents if member not in (plugin, record, cache)]
    recorded = [plugin, *between, cache]
    contents[record] = record_of(
        {member.filename: contents[member] for member in recorded}, record.filename
    )
    with ZipFile(wheel, "w") as archive:
        for member in [plugin, *between, record, cache]:
            archive.writestr(member, contents[member])


def plugin_cache(plugin: bytes) -> bytes:
    """What ``twistd`` would write where Twisted's own plugins and this one lie side by side."""
    from twisted.plugin import getCache
    from twisted.python.modules import getModule

    package = getModule("twisted.plugins")
    plugins = package.load()
    with tempfile.TemporaryDirectory() as ours:
        Path(ours, f"{PLUGIN}.py").write_bytes(plugin)
        # Twisted's own directory and this one, not all the others that it finds on the path.
        plugins.__path__[:] = [plugins.__path__[0], ours]
        found = {module.name.rpartition(".")[2] for module in package.iterModules()}
        cache = getCache(plugins)
    if PLUGIN not in cache or set(cache) != found:
        raise SystemExit(f"plugins that could not be loaded: {sorted(found ^ set(cache))}")
    return pickle.dumps(cache)


def record_of(contents: Mapping[str, bytes], name: str) -> bytes:
    """The wheel's RECORD: the hash and the size of each file but RECORD itself."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for path, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        rows.writerow([path, f"sha256={digest.decode()}", len(content)])
    rows.writerow([name, "", ""])
    return text.getvalue().encode()
