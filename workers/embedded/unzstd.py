"""Decompresses a file for a `tar` that cannot: `unzstd FILE DESCRIPTOR`."""

from __future__ import annotations

import sys

import zstandard


def main() -> None:
    """Write what the file holds, all frames of it, to the descriptor."""
    path, descriptor = sys.argv[1], int(sys.argv[2])
    with open(path, "rb") as bundle, open(descriptor, "wb") as out:  # noqa: PTH123
        reader = zstandard.ZstdDecompressor().stream_reader(bundle, read_across_frames=True)
        while chunk := reader.read(1 << 20):
            out.write(chunk)


if __name__ == "__main__":
    main()
