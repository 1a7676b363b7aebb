"""A finding as a line, and sizes as people read them."""

from __future__ import annotations

import pytest

from edge.commands.finding import Finding, size, whole


def test_a_line_has_what_to_do_behind_the_fact():
    assert str(Finding("memory", "warn", "little", "add some")) == (
        "warn  memory        little -> add some"
    )
    assert str(Finding("API keys", "ok", "two")) == "ok    API keys      two"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (99 << 20, "99.0 MiB"),
        (300 << 20, "300 MiB"),
        (3 << 30, "3.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_sizes(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 MiB"), (1, "1 MiB"), (1 << 20, "1 MiB"), ((5 << 30) + 1, "5121 MiB")]
)
def test_a_limit_that_is_advised_is_never_too_small(count, text):
    assert whole(count) == text
