"""`watch: true` in a daemon that runs: every way in which people and programs replace files."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..issuers import new_key, new_root, pem, pem_key
from ..ports import free_port, free_ports
from ..web.handshakes import trust
from .daemon import PATIENCE, Daemon, command, eventually, launched

ROOT = new_root()


def text_of(port: int, name: str, more: str = "") -> str:
    return (
        f"listen: [{{port: {port}}}]\naccess_log: none\nwatch: true\n{more}"
        f"rules: [{{name: {name}, to: 'https://{name}.example'}}]\n"
    )


class Bed:
    """A daemon that watches, whose reloads are counted."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.port = daemon.port
        self.file = daemon.file
        self.here = daemon.file.parent

    def has_reloaded(self, times: int, in_vain: int = 0) -> bool:
        """Whether it has come to reload as often as this, and no more than that."""
        good, bad = f" reloaded {self.file}: ", "the old rules stay in force"

        def enough() -> bool:
            log = self.daemon.log()
            return log.count(good) >= times and log.count(bad) >= in_vain

        enough_in_time = eventually(enough)
        log = self.daemon.log()
        return enough_in_time and (log.count(good), log.count(bad)) == (times, in_vain)

    def serves(self, name: str) -> bool:
        """Whether the rule of this name is in force."""
        return self.daemon.ask("/").getheader("Location") == f"https://{name}.example/"


@contextmanager
def watching(directory: Path, more: str = "") -> Iterator[Bed]:
    port = free_port()
    with launched(text_of(port, "one", more), directory, port) as daemon:
        yield Bed(daemon)
        assert "Traceback" not in daemon.log()


# Each is done in one step: whatever else keeps this machine busy, the daemon sees it whole.


def rename_over(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.rename(file)


def write_in_place(file: Path, text: str) -> None:
    assert len(text) == file.stat().st_size
    with file.open("r+") as opened:
        opened.write(text)


def link_over(link: Path, target: str) -> None:
    new = link.with_name(f".{link.name}.new")
    new.symlink_to(target)
    new.rename(link)


@pytest.mark.parametrize(
    "way", [rename_over, write_in_place], ids=["renamed over", "written in place"]
)
def test_a_new_file_takes_force_once_however_it_comes(
    tmp_path: Path, way: Callable[[Path, str], object]
) -> None:
    with watching(tmp_path) as bed:
        for times, name in enumerate(("two", "six", "ten"), 1):
            way(bed.file, text_of(bed.port, name))
            assert bed.has_reloaded(times)
            assert bed.serves(name)


def test_what_is_beside_the_files_and_a_touch_are_no_reason(tmp_path: Path) -> None:
    with watching(tmp_path) as bed:
        (bed.here / "rules.yaml.swp").write_text("x")
        (bed.here / "other.log").write_text("x\n" * 1000)
        rename_over(bed.here / "other.yaml", "rules: []")
        bed.file.touch()
        write_in_place(bed.file, bed.file.read_text())
        rename_over(bed.file, bed.file.read_text())
        bed.file.chmod(0o640)
        # What would have come of all this comes before the reload for this.
        rename_over(bed.file, text_of(bed.port, "two"))
        assert bed.has_reloaded(1)
        assert bed.serves("two")


def test_a_faulty_file_is_told_once_and_a_mended_one_takes_force(tmp_path: Path) -> None:
    with watching(tmp_path) as bed:
        rename_over(bed.file, "rules: []\n")
        assert bed.has_reloaded(0, in_vain=1)
        assert bed.serves("one")
        bed.file.touch()
        rename_over(bed.file, text_of(bed.port, "two"))
        assert bed.has_reloaded(1, in_vain=1)
        assert bed.serves("two")


def test_a_file_that_is_taken_away_is_told_when_it_stays_away(tmp_path: Path) -> None:
    with watching(tmp_path) as bed:
        bed.file.unlink()
        assert bed.has_reloaded(0, in_vain=1)
        rename_over(bed.file, text_of(bed.port, "two"))
        assert bed.has_reloaded(1, in_vain=1)
        assert bed.serves("two")


def test_a_list_that_a_rule_speaks_of_is_watched(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "lists").symlink_to("a")
    (tmp_path / "a/office.txt").write_text("10.0.0.0/8\n")
    (tmp_path / "b/office.txt").write_text("10.0.0.0/10\n")
    more = "networks: {office: {file: lists/office.txt}}\n"
    with watching(tmp_path, more) as bed:
        rename_over(tmp_path / "lists/office.txt", "10.0.0.0/9\n")
        assert bed.has_reloaded(1)
        assert "network office changed" in bed.daemon.log()
        # Another directory takes the place of the one that was watched.
        link_over(tmp_path / "lists", "b")
        assert bed.has_reloaded(2)
        rename_over(tmp_path / "a/office.txt", "10.0.0.0/11\n")
        rename_over(tmp_path / "b/office.txt", "10.0.0.0/12\n")
        assert bed.has_reloaded(3)


def test_a_list_that_a_faulty_file_misses_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new/office.txt").write_text("10.0.0.0/8\n")
    with watching(tmp_path) as bed:
        more = "networks: {office: {file: lists/office.txt}}\n"
        rename_over(bed.file, text_of(bed.port, "two", more))
        assert bed.has_reloaded(0, in_vain=1)
        (tmp_path / "new").rename(tmp_path / "lists")
        assert bed.has_reloaded(1, in_vain=1)
        assert bed.serves("two")


# Kubernetes.


class ConfigMap:
    """A directory as the kubelet fills it (atomic_writer.go): all of its files change at once."""

    def __init__(self, root: Path, **files: str) -> None:
        self.root = root
        self.number = 0
        root.mkdir()
        self.write(**files)
        for name in files:
            (root / name.replace("_", ".")).symlink_to(Path("..data", name.replace("_", ".")))

    def write(self, **files: str) -> None:
        """Let these files take the place of the old ones, by one rename."""
        self.number += 1
        new = self.root / f"..2024_11_24_{self.number}"
        new.mkdir()
        for name, text in files.items():
            (new / name.replace("_", ".")).write_text(text)
        before = self.root / "..data"
        old = before.resolve() if before.is_symlink() else None
        link_over(before, new.name)
        if old is not None:
            shutil.rmtree(old)


@contextmanager
def mounted(directory: Path, port: int, **files: str) -> Iterator[tuple[Bed, ConfigMap]]:
    """A daemon whose configuration is in a ConfigMap."""
    volume = ConfigMap(directory / "etc", **files)
    output = directory / "output"
    file = volume.root / "rules.yaml"
    with output.open("wb") as written:
        process = subprocess.Popen(
            command(file),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    daemon = Daemon(process, port, file, output)
    try:
        assert eventually(daemon.answers), daemon.log()
        yield Bed(daemon), volume
        assert "Traceback" not in daemon.log()
    finally:
        process.kill()
        process.wait()


def test_a_config_map_takes_force_once_each_time_it_is_swapped(tmp_path: Path) -> None:
    port = free_port()
    more = "networks: {office: {file: office.txt}}\n"
    rules, office = text_of(port, "one", more), "10.0.0.0/8\n"
    with mounted(tmp_path, port, rules_yaml=rules, office_txt=office) as (bed, volume):
        for times, name in enumerate(("two", "three", "four", "five"), 1):
            rules = text_of(port, name, more)
            volume.write(rules_yaml=rules, office_txt=office)
            assert bed.has_reloaded(times)
            assert bed.serves(name)
        # Another file of the same volume.
        volume.write(rules_yaml=rules, office_txt="10.0.0.0/9\n")
        assert bed.has_reloaded(5)
        # Kubernetes swaps for files that nobody reads, too.
        volume.write(rules_yaml=rules, office_txt="10.0.0.0/9\n", other_txt="x")
        volume.write(rules_yaml=text_of(port, "six", more), office_txt="10.0.0.0/9\n")
        assert bed.has_reloaded(6)
        assert bed.serves("six")


# Certificates.


def test_a_renewed_certificate_is_served_after_one_reload(tmp_path: Path) -> None:
    """As certbot keeps them: links in live/ to the newest in archive/; the key stays."""
    live, archive = tmp_path / "live", tmp_path / "archive"
    live.mkdir()
    archive.mkdir()
    key = new_key()
    (live / "key.pem").write_bytes(pem_key(key))

    def renew(number: int) -> int:
        certificate = ROOT.sign(key, "one.example")
        (archive / f"cert{number}.pem").write_bytes(pem(certificate))
        link_over(live / "cert.pem", f"../archive/cert{number}.pem")
        return certificate.serial_number

    def served() -> int:
        with (
            socket.create_connection(("127.0.0.1", secure), timeout=PATIENCE) as raw,
            trust(ROOT).wrap_socket(raw, server_hostname="one.example") as secured,
        ):
            told = secured.getpeercert()
        assert told is not None
        return int(str(told["serialNumber"]), 16)

    before = renew(1)
    port, secure = free_ports(2)
    tls = "tls: {certificates: [{certificate: live/cert.pem, key: live/key.pem}]}"
    text = text_of(port, "one").replace("}]", f"}}, {{port: {secure}, {tls}}}]", 1)
    with launched(text, tmp_path, port) as daemon:
        bed = Bed(daemon)
        assert served() == before
        for number in (2, 3):
            serial = renew(number)
            assert bed.has_reloaded(number - 1)
            assert "certificates changed" in daemon.log()
            assert served() == serial


# On and off.


def test_it_is_switched_on_and_off_by_a_reload(tmp_path: Path) -> None:
    with watching(tmp_path) as bed:
        off = text_of(bed.port, "two").replace("watch: true", "watch: false")
        rename_over(bed.file, off)
        assert bed.has_reloaded(1)
        rename_over(bed.file, off.replace("two", "three"))
        # Only asked for: had it been seen, there would have been one more before.
        bed.daemon.hang_up()
        assert bed.has_reloaded(2)
        assert bed.serves("three")
        rename_over(bed.file, text_of(bed.port, "four"))
        bed.daemon.hang_up()
        assert bed.has_reloaded(3)
        rename_over(bed.file, text_of(bed.port, "five"))
        assert bed.has_reloaded(4)
        assert bed.serves("five")
