"""Look at what the bundle says of itself, before anything of the site is touched."""

from __future__ import annotations

from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.restoring import bundle_of, is_read_from_afar, keep_end, opened_bundle
from workers.stages.soundness import Listed, require_listed, require_stated


def run(context: StageContext) -> StageResult:
    """Read the index and every line of the manifest, and hold them against each other.

    The content of each file is compared with its checksum when it is restored: beside the site,
    so that one that is damaged changes nothing.
    """
    context.reporter.detail("Reading the bundle's index and manifest")
    with opened_bundle(context) as bundle:
        facts = bundle.facts()
        require_stated(facts, bundle_of(context).site)
        listed = Listed()
        for member in bundle.members():
            context.reporter.check()
            listed.add(member)
        require_listed(facts, listed)
        keeps_end = is_read_from_afar(context)
        if keeps_end:
            keep_end(context, bundle)
        return StageResult(
            {
                "directory": context.directory.name if keeps_end else "",
                "members": listed.members,
                "content_size": bundle.footer.content_size,
                "bytes": listed.size,
                "fetched": bundle.bytes_fetched,
            },
            f"The bundle is sound ({listed.members} members, {megabytes(listed.size)})",
        )
