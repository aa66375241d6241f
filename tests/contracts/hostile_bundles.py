"""Bundles of somebody who owns the storage and the catalogue: their checksums agree, they lie."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.workers.engine.bundle.crafting import Crafted, Piece, frame, line_of, pack
from workers.engine.bundle import BundleReader
from workers.engine.bundle.container import FOOTER_BYTES, new_compressor
from workers.engine.bundle.manifest import head_lines
from workers.engine.bundle.tarheader import Entry, build_header
from workers.engine.sources import FilesSource

Made = tuple[Entry, bytes]
OF_CASES = ("codes", "words", "only", "is_of_files")
INDEX = b"\x58\x2a\x4d\x18"


@dataclass(frozen=True)
class Case:
    """One bundle, which codes its jobs may end with, and a word that the error has to hold.

    `only` names the jobs that notice (others may restore it, for all that it says is true);
    One that `is_of_files` is seen through only when they are written: in place as well, then.
    `size` and `sha256` are what the catalogue says instead of the truth.
    """

    name: str
    data: bytes
    codes: tuple[str, ...] = ("bundle_damaged",)
    words: str = ""
    only: tuple[str, ...] = ("in_place", "copy", "verify")
    size: int | None = None
    sha256: str | None = None
    is_of_files: bool = False


class Forger:
    """Makes bundles that look like those of one site, of which it has seen one."""

    def __init__(self, bundle: Path, outside: Path) -> None:
        self.outside = outside
        self.whole = bundle.read_bytes()
        with FilesSource([bundle]) as source:
            reader = BundleReader(source)
            self.facts = reader.facts()
            self.config = b"".join(reader.read("wp-config.php"))
            self.dump = b"".join(reader.read("database.sql"))
        del self.facts["format"], self.facts["format_version"]
        self.facts.pop("folders")
        self.facts["wordpress"] = {"table_prefix": "wp_"}

    def craft(
        self,
        *more: Made,
        facts: Mapping[str, Any] | None = None,
        top: Made | None = None,
        dump: bytes | None = None,
        line: Callable[[Made], bytes | None] | None = None,
        **lies: Any,
    ) -> bytes:
        """Return a bundle with these members beside the usual ones; all of the rest is true."""
        text = self.dump if dump is None else dump
        members = [
            (Entry(b"database.sql", size=len(text)), text),
            (Entry(b"wp-config.php", size=len(self.config)), self.config),
            GOOD,
            *more,
            top or TOP,
        ]
        if line is not None:
            lies["lines"] = [made for one in members if (made := line(one)) is not None]
        head = head_lines({**self.facts, "files": counts(members[1:]), **(facts or {})})
        return Crafted(members, head=head, **lies).build().data

    def __call__(self, name: str, *more: Made, **fields: Any) -> Case:
        of_case = {key: fields.pop(key) for key in OF_CASES if key in fields}
        return Case(name, self.craft(*more, **fields), **of_case)


GOOD: Made = (Entry(b"wp-content/good.php", size=5), b"hello")
TOP: Made = (Entry(b"wp-content", kind=b"5", mode=0o755), b"")


def counts(members: list[Made]) -> dict[str, int]:
    kinds = [entry.kind for entry, _data in members]
    links = {"symlinks": kinds.count(b"2"), "hard_links": kinds.count(b"1")}
    folders = kinds.count(b"5")
    files = len(kinds) - folders - sum(links.values())
    return {"files": files, "folders": folders, **links}


def file(path: bytes, data: bytes = b"evil") -> Made:
    return Entry(path, size=len(data)), data


def link(path: bytes, aim: bytes) -> Made:
    return Entry(path, kind=b"2", link=aim), b""


def hard(path: bytes, aim: bytes) -> Made:
    return Entry(path, kind=b"1", link=aim), b""


def instead_of_good(**changes: Any) -> Callable[[Made], bytes]:
    """Return what writes the manifest's lines, that of the good file with lies."""

    def written(made: Made) -> bytes:
        return line_of(*made, **(changes if made is GOOD else {}))

    return written


def escapes(forge: Forger) -> list[Case]:
    """Names, links and devices that lead out of the site."""
    outside = bytes(forge.outside)
    unsafe: Any = {"codes": ("unsafe_path",), "words": "path"}
    paths = [b"wp-content/../../../outside/new", b"../new", bytes(forge.outside / "new")]
    cases = [forge(f"path {path!r}", file(path), **unsafe) for path in paths]
    through = link(b"wp-content/link", outside)
    unsafe = {"codes": ("unsafe_path",), "is_of_files": True}
    cases += [
        forge("file through a link", through, file(b"wp-content/link/new"), **unsafe),
        forge("folder through a link", through, (Entry(b"wp-content/link/new", kind=b"5"), b""),
              **unsafe),
        forge("file over a link", link(b"wp-content/a", outside + b"/secret"),
              file(b"wp-content/a"), words="twice", is_of_files=True),
        forge("hard link to outside", hard(b"wp-content/stolen", outside + b"/secret"),
              words="wp-content/stolen", **unsafe),
        forge("hard link through a link", through, hard(b"wp-content/b", b"wp-content/link/secret"),
              words="wp-content/b", **unsafe),
        forge("wp-content is a link", top=link(b"wp-content", outside), words="wp-content"),
        forge("wp-content is a file", top=file(b"wp-content"), words="wp-content"),
    ]  # fmt: skip
    return [*cases, *devices(forge)]


def devices(forge: Forger) -> list[Case]:
    """A device and a pipe, told as what they are or as files."""
    cases = []
    for kind, told in ((b"3", "file"), (b"6", "fifo")):
        device: Made = (Entry(b"wp-content/device", kind=kind), b"")
        line = line_of(Entry(device[0].path), b"", type=told)

        def written(made: Made, device: Made = device, line: bytes = line) -> bytes:
            return line if made is device else line_of(*made)

        cases.append(forge(f"{kind!r} told as {told}", device, line=written))
    return cases


def lies(forge: Forger) -> list[Case]:
    """Manifests that do not say what is there."""
    cases = [
        forge(f"line with {lie}", line=instead_of_good(**lie))
        for lie in (
            {"sha256": "0" * 64},
            {"size": 4},
            {"mode": "4755"},
            {"type": "symlink", "size": 0, "link": "/etc/passwd"},
            {"sparse": True, "stored_size": 5, "size": 2**40},
        )
    ]
    facts = forge.facts
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("another site", {"site": {**facts["site"], "uuid": "0" * 32}}, "another site"),
        ("no site", {"site": None}, "does not say"),
        ("files are text", {"files": "many"}, "does not say"),
        ("too many files", {"files": {**counts([GOOD, TOP, GOOD]), "files": 7}}, "lists"),
        ("no database", {"database": None}, "database.sql"),
        ("database is a list", {"database": [1]}, "does not say"),
        ("tables begin behind the end", {"database": {**facts["database"], "table_offsets":
            {"wp_options": 2**40}}}, "after the end"),
        ("a prefix that is PHP", {"wordpress": {"table_prefix": "'; evil(); //"}}, "does not say"),
    ]  # fmt: skip
    cases += [forge(name, facts=changed, words=words) for name, changed, words in wrong]
    large = instead_of_good(size=2**55)
    cases.append(forge("line of a large file", line=large,
                       codes=("bundle_damaged", "not_enough_space")))  # fmt: skip
    missing = forge("a line is missing", line=lambda made: None if made is GOOD else line_of(*made))
    tables = {**facts["database"], "tables": {"wp_options": 4, "wp_more": 1}}
    return [
        *cases,
        missing,
        forge("no wp-content", top=file(b"wp-content/x"), words="wp-content"),
        forge("other rows", facts={"database": tables}, codes=("proof_failed",), only=("verify",),
              words="wp_more"),
        forge("facts of odd kinds", facts={"folders": 7}, only=("verify",), words="does not say"),
    ]  # fmt: skip


def bombs(forge: Forger) -> list[Case]:
    """What would fill memory or disk, and sizes that nothing has."""
    bomb = new_compressor().compress(bytes(1 << 30))
    real = bytearray(new_compressor().compress(bytes(3 << 20)))
    real[5:9] = (1 << 22).to_bytes(4, "little")
    honest = frame(build_header(GOOD[0]), GOOD[1])
    pieces = [Piece(bytes(real), 1 << 22, honest.positions)]
    swollen = bytes(real) + pack(pieces) + forge.craft()[-FOOTER_BYTES:]
    holes = b"1\n0\n4\n".ljust(512, b"\0") + b"1234"
    sparse: Made = (Entry(b"wp-content/h", size=len(holes), sparse_size=2**62), holes)
    odd = {
        "content_size": 2**60,
        "index_offset": 2**40,
        "index_size": 2**64 - 1,
    }
    return [
        forge("an index of 1 GiB", index=INDEX + len(bomb).to_bytes(4, "little") + bomb),
        Case("a frame that lies about its size", swollen),
        forge("a manifest of one line", manifest=b"x" * (40 << 20)),
        forge("a file of holes", sparse, codes=("file_too_large",), words="wp-content/h"),
        *(forge(f"{name} of {size}", footer={name: size}) for name, size in odd.items()),
    ]


def damages(forge: Forger) -> list[Case]:
    """A real bundle with a bit flipped in each region, cut, and exchanged."""
    whole, generator = forge.whole, random.Random(3)
    start = int.from_bytes(whole[-FOOTER_BYTES + 36 : -FOOTER_BYTES + 44], "little")
    regions = {
        "first header": 20,
        "frame": start // 3,
        "manifest": start - 60,
        "index": start + 20,
        "footer": len(whole) - 60,
        "end": len(whole) - 2,
    }
    cases = []
    for name, place in regions.items():
        data = bytearray(whole)
        data[place] ^= 1 << generator.randrange(8)
        cases.append(Case(f"a bit flipped in {name}", bytes(data)))
    flipped = cases[1].data
    return [
        *cases,
        Case("cut in half", whole[: len(whole) // 2]),
        Case("cut, and the size told", whole[:-1], size=len(whole), words=str(len(whole) - 1)),
        Case("empty", b""),
        Case("other bytes of the right size", flipped, sha256="0" * 64, words="sha256"),
    ]


def statements(forge: Forger) -> list[Case]:
    """Dumps that would write elsewhere, and one without an end."""
    head, _, rest = forge.dump.partition(b";\n")
    cases = []
    for sql in (b"ATTACH '%b/new' AS x;\n", b"VACUUM INTO '%b/new';\n"):
        text = head + b";\n" + sql % bytes(forge.outside) + rest
        shown = sql.split()[0].decode()
        case = forge(f"a dump with {shown}", dump=text, codes=("dump_refused",))
        cases.append(replace(case, words="authoriz"))
    return [*cases, forge("a dump without an end", dump=forge.dump[:-20],
                          codes=("dump_incomplete",))]  # fmt: skip


def all_cases(forge: Forger) -> list[Case]:
    """Return every case, by names that are all different."""
    makers = (escapes, lies, bombs, damages, statements)
    return [case for make in makers for case in make(forge)]
