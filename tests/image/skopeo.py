"""skopeo, a reader of images that is not ours."""

import subprocess
from pathlib import Path


def skopeo(*words: str | Path) -> str:
    """What `skopeo` prints; an `AssertionError` with its complaint where it fails."""
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
