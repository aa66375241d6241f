"""Look at what the bundle says of itself, before anything of the site is touched."""

from __future__ import annotations

from workers.engine.bundle.container import BundleDamaged
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.restoring import bundle_of, is_read_from_afar, keep_end, opened_bundle


def run(context: StageContext) -> StageResult:
    """Read the index and every line of the manifest, and hold them against each other.

    The content of each file is compared with its checksum when it is restored: beside the site,
    so that one that is damaged changes nothing.
    """
    context.reporter.detail("Reading the bundle's index and manifest")
    with opened_bundle(context) as bundle:
        facts = bundle.facts()
        found = facts.get("site", {}).get("uuid")
        if found != bundle_of(context).site:
            raise BundleDamaged(
                "The bundle says that it is of another site than the catalogue does",
                hint="Something exchanged bundles in the storage; restore another backup.",
            )
        members = size = 0
        for member in bundle.members():
            context.reporter.check()
            members += 1
            size += member.size
        keeps_end = is_read_from_afar(context)
        if keeps_end:
            keep_end(context, bundle)
        return StageResult(
            {
                "directory": context.directory.name if keeps_end else "",
                "members": members,
                "content_size": bundle.footer.content_size,
                "bytes": size,
                "fetched": bundle.bytes_fetched,
                "facts": {name: facts.get(name) for name in ("database", "files", "tools")},
            },
            f"The bundle is sound ({members} members, {megabytes(size)})",
        )
