"""What gathers in the store of podman and buildah, and when it goes."""

from __future__ import annotations

import json
import time

from tests.image.engine import Engine

ABANDONED_S = 3600.0  # no build takes this long: whoever began it was killed
OLD_HOURS = 168


def drop_abandoned_builds(podman: Engine, *, older_than_s: float = ABANDONED_S) -> None:
    """Remove containers of builds that never ended: their mounts keep the store from deletion."""
    listing = podman.ask("ps", "--all", "--external", "--format", "json")
    for container in json.loads(listing):
        if container["State"] == "storage" and time.time() - container["Created"] > older_than_s:
            podman.ask("rm", "--force", container["Id"])


def drop_old_images(podman: Engine, *, older_than_hours: int = OLD_HOURS) -> None:
    """Remove unnamed images: what a later build took the name from, and cached steps of builds."""
    podman.ask("image", "prune", "--force", "--filter", f"until={older_than_hours}h")
