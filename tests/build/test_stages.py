"""Stages: a line each, and their name on what fails in them."""

from __future__ import annotations

import errno
import os
import re

import pytest

from build.errors import BuildFailed, UsageError
from build.stages import Stages


def test_each_stage_is_a_line_with_the_time(capsys):
    stages = Stages()
    with stages.stage("weights", "3 MB"), stages.stage("index"):
        pass
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [re.sub(r"^\[ +[0-9.]+ s\] ", "", line) for line in lines] == ["weights: 3 MB", "index"]


def test_a_failure_keeps_its_class_and_every_problem():
    with (
        pytest.raises(BuildFailed) as caught,
        Stages(is_silent=True).stage("runtime arm64"),
    ):
        raise BuildFailed(["no disk", "no network"])
    assert caught.value.problems == ("runtime arm64: no disk", "runtime arm64: no network")


def test_a_full_disk_is_a_failed_build_with_advice():
    stages = Stages(is_silent=True)
    full = pytest.raises(BuildFailed, match=r"^layers amd64: No space left on device; TMPDIR may")
    with full, stages.stage("layers amd64"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(BuildFailed, match=r"^weights: Permission denied$"), stages.stage("weights"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_other_errors_pass_as_they_are():
    with pytest.raises(UsageError, match=r"^odd$"), Stages(is_silent=True).stage("x"):
        raise UsageError("odd")


def test_a_silent_one_says_nothing(capsys):
    with Stages(is_silent=True).stage("x"):
        pass
    assert capsys.readouterr() == ("", "")
