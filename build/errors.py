"""What can go wrong in the factory, as classes.

BuildError            carries `problems`, every one that was found; exit status 1
|- SourceNotFound     the URI names no model, version, alias or run; or the store is out of reach
|- InvalidModel       the model was found and cannot be served
|- UnlikeParent       a converted model is not what it was made of; nothing is logged
|- InvalidBundle      a folder is no bundle, or not the one its manifest describes
|- OutputRefused      the output folder cannot be written
|- InvalidImage       an image, archive or layout is not what it should be
|- ToolMissing        no container tool is there, or not one that can do what was asked
|- BuildFailed        the container tool failed
`- PublishFailed      the destination refused; nothing is half-published
UsageError            the command line makes no sense; exit status 2
"""

from __future__ import annotations

from collections.abc import Sequence

EXIT_OK = 0
EXIT_PROBLEMS = 1
EXIT_USAGE = 2


class BuildError(Exception):
    """The work cannot be done; `problems` lists every reason, a sentence each."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("; ".join(self.problems))


class SourceNotFound(BuildError):
    """The URI names no model, version, alias or run, or the store is out of reach."""


class InvalidModel(BuildError):
    """The model was found and cannot be served."""


class UnlikeParent(BuildError):
    """A converted model differs from the one it was made of by more than the bounds allow."""


class InvalidBundle(BuildError):
    """A folder is no bundle, or its files are not the ones that its manifest lists."""


class OutputRefused(BuildError):
    """The output folder cannot be written."""


class InvalidImage(BuildError):
    """An image, archive or layout is not what it should be."""


class ToolMissing(BuildError):
    """No container tool is there, or not one that can do what was asked."""


class BuildFailed(BuildError):
    """The container tool failed."""


class PublishFailed(BuildError):
    """The destination refused the image; nothing is half-published."""


class UsageError(Exception):
    """The command line makes no sense."""
