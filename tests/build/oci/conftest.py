"""A store for every test."""

import pytest

from build.oci.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "layout")
