"""Plans: what was asked for, checked before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from build import builder, destination, plan
from build.builder import Tool
from build.errors import UsageError
from build.network import Network
from build.oci.compression import Compression
from build.plan import Plan


def make(**changes) -> Plan:
    usual = {
        "uri": "models:/phi3@champion",
        "arches": ("amd64", "arm64"),
        "tag": destination.parse_tag("acme/phi3:3"),
        "destinations": (destination.parse("oci-archive:phi3.tar"), destination.parse("local")),
        "tool": Tool("podman", "4.3.1"),
        "network": Network(),
        "epoch_s": 1_700_000_000,
    }
    return Plan(**{**usual, **changes})


def house(folder: Path, *parts: str) -> Path:
    for part in parts:
        (folder / part).mkdir(parents=True)
        (folder / part / "SHA256SUMS").write_text("")
    return folder


def whole_house(folder: Path) -> Path:
    parts = [f"{kind}/{arch}" for kind in ("debian", "wheels") for arch in plan.ARCHES]
    return house(folder, f"tools/{builder.machine_arch()}", *parts)


def test_the_text_names_every_step():
    text = make(compression=Compression.ZSTD).as_text()
    for part in (
        *("models:/phi3@champion", "Dockerfile.amd64", "Dockerfile.arm64", "podman 4.3.1"),
        *("acme/phi3:3 to oci-archive:phi3.tar", "acme/phi3:3 to local", "zstd"),
        *("1700000000", "the Dockerfile's own"),
    ):
        assert part in text


def test_a_recipe_leaves_the_base_to_the_dockerfile_unless_one_was_named():
    assert make().recipe("amd64", "runtime", Path("c"), {}).arguments == {"NUMPY": "debian"}
    named = make(base="mirror.example/debian:12", numpy="wheel")
    assert named.recipe("amd64", "runtime", Path("c"), {}).arguments == {
        "NUMPY": "wheel",
        "BASE": "mirror.example/debian:12",
    }


def test_a_wheelhouse_makes_a_recipe_offline(tmp_path):
    recipe = make(wheelhouse=tmp_path).recipe("arm64", "runtime", Path("c"), {})
    assert recipe.network == "none"
    assert make().recipe("arm64", "runtime", Path("c"), {}).network == ""
    shared = make(network=Network(mode="host"))
    assert shared.recipe("arm64", "runtime", Path("c"), {}).network == "host"
    assert recipe.dockerfile.name == "Dockerfile.arm64"


def test_a_whole_wheelhouse_is_taken(tmp_path):
    assert plan.wheelhouse(whole_house(tmp_path), plan.ARCHES) == tmp_path
    assert plan.wheelhouse(None, plan.ARCHES) is None


def test_what_a_wheelhouse_lacks_is_named_with_the_command_that_brings_it(tmp_path):
    found = house(tmp_path, f"tools/{builder.machine_arch()}", "debian/amd64", "wheels/amd64")
    assert plan.wheelhouse(found, ("amd64",)) == found
    with pytest.raises(UsageError) as caught:
        plan.wheelhouse(found, plan.ARCHES)
    assert "lacks debian/arm64, wheels/arm64" in str(caught.value)
    assert "python -m build fetch --platform linux/amd64 --platform linux/arm64" in str(
        caught.value
    )


def test_the_base_of_a_wheelhouse_is_used_unless_another_was_named(tmp_path):
    assert make(wheelhouse=tmp_path).base_archive is None
    (tmp_path / plan.base_archive()).write_text("x")
    assert make(wheelhouse=tmp_path).base_archive == tmp_path / plan.base_archive()
    assert make(wheelhouse=tmp_path, base="debian:12").base_archive is None
    assert make().base_archive is None


def test_the_time_is_source_date_epoch_where_it_is_set(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert plan.epoch_s() == 1_700_000_000
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert plan.epoch_s() > 1_700_000_000  # of the last commit


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", str(2**33)])
def test_a_time_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(UsageError, match=r"SOURCE_DATE_EPOCH is .*, expected seconds since 1970"):
        plan.epoch_s()
