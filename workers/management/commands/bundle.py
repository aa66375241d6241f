"""`manage.py bundle list|extract|cat|verify FILE-OR-BACKUP [PATH…]`: look into a bundle."""

from __future__ import annotations

import contextlib
import stat
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from backups.errors import SecretUnreadableError
from backups.models import Backup, BackupStatus
from workers.engine.age import AgeSource, plain_source
from workers.engine.bundle import BundleReader, Member, extract, verify
from workers.engine.errors import EngineError
from workers.engine.progress import SilentReporter
from workers.engine.sources import ByteSource, FilesSource
from workers.engine.stores import open_store


class Command(BaseCommand):
    help = (
        "List, extract, print or check what is in a bundle: a file, or the id of a backup, of "
        "which only the parts that are needed are fetched from its storage."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        listing = commands.add_parser("list", help="list the members")
        listing.add_argument("bundle", help="a file or the id of a backup")
        listing.add_argument("paths", nargs="*", help="only what begins with one of these")
        extract = commands.add_parser("extract", help="write members below a folder")
        extract.add_argument("bundle", help="a file or the id of a backup")
        extract.add_argument("paths", nargs="*", help="members or folders (default: all)")
        extract.add_argument("--to", default=".", help="the folder (default: this one)")
        cat = commands.add_parser("cat", help="print members to standard output")
        cat.add_argument("bundle", help="a file or the id of a backup")
        cat.add_argument("paths", nargs="+")
        check = commands.add_parser("verify", help="decode everything and check every checksum")
        check.add_argument("bundle", help="a file or the id of a backup")
        for one in (listing, extract, cat, check):
            one.add_argument(
                "--identity",
                type=Path,
                default=settings.HOLDFAST_AGE_IDENTITY_FILE,
                metavar="FILE",
                help="the secret keys of age for a bundle that is encrypted",
            )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        actions = {
            "list": self.list,
            "extract": self.extract,
            "cat": self.cat,
            "verify": self.verify,
        }
        try:
            with opened(options["bundle"]) as (stored, is_encrypted):
                source = plain_source(stored, options["identity"], is_encrypted=is_encrypted)
                actions[options["what"]](source, options)
        except EngineError as error:
            raise CommandError(error.sentences()) from error
        except SecretUnreadableError as error:
            raise CommandError(error.message) from error
        except BrokenPipeError:
            # Somebody reads only the beginning, as `head` does.
            sys.stderr.close()

    def list(self, source: ByteSource, options: dict[str, Any]) -> None:
        reader = BundleReader(source)
        for prefix in options["paths"] or [""]:
            for member in reader.members(prefix):
                self.stdout.write(listing_line(member))

    def extract(self, source: ByteSource, options: dict[str, Any]) -> None:
        reader = BundleReader(source)
        target = Path(options["to"])
        paths = options["paths"] or [""]
        report = extract(reader, paths, target, reporter=SilentReporter())
        self.stderr.write(f"{report.files} files, {report.bytes} bytes written below {target}")
        for warning in report.warnings:
            self.stderr.write(f"Warning: {warning}")
        self._say_fetched(reader, source)

    def cat(self, source: ByteSource, options: dict[str, Any]) -> None:
        reader = BundleReader(source)
        for path in options["paths"]:
            for chunk in reader.read(path):
                sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        self._say_fetched(reader, source)

    def verify(self, source: ByteSource, _options: dict[str, Any]) -> None:
        report = verify(source, reporter=SilentReporter())
        self.stdout.write(f"Good: {report.members} members, {report.frames} frames")
        self.stdout.write(f"{source.size} bytes, sha256 {report.sha256}")
        if isinstance(source, AgeSource):
            self.stdout.write(f"Decrypted from {source.stored_size} bytes")

    def _say_fetched(self, reader: BundleReader, source: ByteSource) -> None:
        fetched, size = reader.bytes_fetched, source.size
        if isinstance(source, AgeSource):
            fetched, size = source.bytes_fetched, source.stored_size
        self.stderr.write(f"{fetched} of {size} bytes read")


def listing_line(member: Member) -> str:
    """Return one line as `tar -tv` prints it: mode, owner, size, time in UTC, name."""
    kind = {"file": "-", "folder": "d", "symlink": "l", "hardlink": "h"}.get(member.kind, "?")
    mode = stat.filemode(member.mode)[1:]
    link = (
        f" -> {printable(member.link.decode('utf-8', 'backslashreplace'))}" if member.link else ""
    )
    owner = printable(f"{member.user or member.uid}/{member.group or member.gid}")
    noted = f" [{printable(member.status)}]" if member.status else ""
    size = f"{member.size:>12}"
    when = shown_time(member.mtime_ns)
    return f"{kind}{mode} {owner:20} {size} {when} {printable(member.name)}{link}{noted}"


def printable(text: str) -> str:
    """Return `text` on one line, with escapes for what a terminal would obey or not show."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shown_time(nanoseconds: int) -> str:
    """Return date and minute in UTC, or the seconds of a time that no calendar here holds."""
    try:
        return f"{datetime.fromtimestamp(nanoseconds // 10**9, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return f"@{nanoseconds // 10**9}"


@contextlib.contextmanager
def opened(wanted: str) -> Iterator[tuple[ByteSource, bool | None]]:
    """Open a bundle by its path, or by the id of its backup; raises `CommandError` if neither.

    Yields with it whether it is encrypted, None where nobody says so.
    """
    path = Path(wanted)
    if path.is_file():
        with FilesSource([path]) as source:
            yield source, path.suffix == ".age" or None
        return
    if not wanted.isdigit():
        raise CommandError(f"{wanted} is neither a file nor the id of a backup.")
    backup = Backup.objects.filter(pk=int(wanted)).select_related("storage").first()
    if backup is None:
        raise CommandError(f"There is no backup {wanted}.")
    if backup.status != BackupStatus.SUCCESS:
        raise CommandError(f"Backup {wanted} failed and holds nothing.")
    store = open_store(backup.storage.type, backup.storage.full_config())
    yield store.open(backup.object_key), bool(backup.encrypted_to)
