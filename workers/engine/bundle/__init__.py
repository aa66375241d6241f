"""The bundle: a backup as one tar in independent zstd frames, with an index behind it.

Specified in docs/bundle-format.md. Writing goes in parts, each by an attempt of its own into a
folder of its own: `write_dump`, `write_tree`, then `seal`, which completes the bundle and reads it
all back. A bundle is the parts' segments end to end. Reading: `BundleReader`, `extract`, `verify`.
"""

from workers.engine.bundle.check import VerifyReport, verify
from workers.engine.bundle.container import FORMAT_VERSION, BundleDamaged
from workers.engine.bundle.dump import write_dump
from workers.engine.bundle.extract import ExtractReport, TargetExists, UnsafePath, extract
from workers.engine.bundle.facts import ExcludedTotal, Noted, TreeFacts
from workers.engine.bundle.listing import Entry, Listing, list_folder
from workers.engine.bundle.manifest import Member
from workers.engine.bundle.pool import ReaderLost
from workers.engine.bundle.reader import BundleReader, MemberMissing
from workers.engine.bundle.sealing import SealedBundle, seal, write_seal
from workers.engine.bundle.segment import SegmentFacts
from workers.engine.bundle.tree import (
    TreeEstimate,
    TreeRoot,
    default_readers,
    estimate_tree,
    write_tree,
)

__all__ = [
    "FORMAT_VERSION",
    "BundleDamaged",
    "BundleReader",
    "Entry",
    "ExcludedTotal",
    "ExtractReport",
    "Listing",
    "Member",
    "MemberMissing",
    "Noted",
    "ReaderLost",
    "SealedBundle",
    "SegmentFacts",
    "TargetExists",
    "TreeEstimate",
    "TreeFacts",
    "TreeRoot",
    "UnsafePath",
    "VerifyReport",
    "default_readers",
    "estimate_tree",
    "extract",
    "list_folder",
    "seal",
    "verify",
    "write_dump",
    "write_seal",
    "write_tree",
]
