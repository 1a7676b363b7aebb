"""`python -m build image`: what is refused or planned before anything is built."""

from __future__ import annotations

import pytest

from build import builder
from build.builder import Tool

MODEL = "models:/phi3@champion"


@pytest.fixture(autouse=True)
def tool(monkeypatch) -> None:
    """A tool that is found and must not be used."""
    monkeypatch.setattr(builder, "find", lambda wanted=None: Tool(wanted or "podman", "4.3.1"))


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("oci:dist", ["Dockerfile.amd64", "Dockerfile.arm64"]),
        ("acme/phi3", ["Dockerfile.amd64", "Dockerfile.arm64"]),
        ("local", [f"Dockerfile.{builder.machine_arch()}"]),
        ("docker-archive:x.tar", [f"Dockerfile.{builder.machine_arch()}"]),
    ],
)
def test_a_dry_run_prints_the_plan_and_does_nothing(cli, tmp_path, monkeypatch, to, expected):
    monkeypatch.chdir(tmp_path)
    done = cli("image", MODEL, "--tag", "acme/phi3:3", "--to", to, "--dry-run")
    assert (done.status, done.err) == (0, "")
    assert [word for word in done.out.split() if word.startswith("Dockerfile.")] == [
        f"{name}," for name in expected
    ]
    assert MODEL in done.out
    assert list(tmp_path.iterdir()) == []


def test_one_build_goes_to_several_places(cli):
    places = ("--to", "local", "--to", "oci-archive:x.tar", "--to", "registry.example/acme/phi3")
    done = cli("image", MODEL, "--tag", "acme/phi3:3", *places, "--dry-run")
    assert done.status == 0
    for place in places[1::2]:
        assert f"acme/phi3:3 to {place}" in done.out
    assert "Dockerfile.amd64" in done.out
    assert "Dockerfile.arm64" in done.out


def test_the_provenance_names_adapters_without_their_files():
    from build import image
    from build.__main__ import parser

    flags = ("--adapter", "pirate=/home/me/p.onnx_adapter", "--adapter", "poet=q", "--name", "me")
    args = parser().parse_args(["image", MODEL, "--tag", "a/b:1", *flags])
    given = image._options(args)
    assert given["adapter"] == ["pirate", "poet"]
    assert given["name"] == "me"
    plain = parser().parse_args(["image", MODEL, "--tag", "a/b:1"])
    assert "adapter" not in image._options(plain)


def test_architectures_come_in_the_order_asked_for_and_once(cli):
    words = ("--arch", "arm64", "--arch", "amd64", "--arch", "arm64")
    done = cli("image", MODEL, "--tag", "a/b:1", "--to", "oci:x", *words, "--dry-run")
    assert "arm64, amd64; layers in gzip" in done.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--tag", "acme/phi3"), "tag is 'acme/phi3', expected REPOSITORY:TAG"),
        (("--tag", "Acme/Phi3:3"), "tag is 'Acme/Phi3:3'"),
        (("--tag", "a/b:1", "--to", "oci:"), "destination is 'oci:'"),
        (("--tag", "a/b:1", "--to", "ftp://x"), "destination is 'ftp://x'"),
        (("--tag", "a/b:1", "--ca", "nothing.pem"), "--ca is 'nothing.pem'"),
        (("--tag", "a/b:1", "--proxy", "proxy"), "--proxy is no address"),
        (("--tag", "a/b:1", "--wheelhouse", "nowhere"), "--wheelhouse nowhere lacks tools/"),
        (("--tag", "a/b:1", "--arch", "riscv64"), "invalid choice: 'riscv64'"),
    ],
)
def test_bad_flags_are_told_before_anything_is_done(cli, words, expected):
    done = cli("image", MODEL, *words)
    assert done.status == 2
    assert expected in done.err


def test_the_time_must_be_one(cli, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    done = cli("image", MODEL, "--tag", "a/b:1", "--dry-run")
    assert (done.status, done.out) == (2, "")
    assert "SOURCE_DATE_EPOCH is 'soon', expected seconds since 1970" in done.err


def test_a_target_in_the_way_is_told_before_the_export(cli, tmp_path):
    (tmp_path / "there.tar").write_text("mine")
    done = cli("image", MODEL, "--tag", "a/b:1", "--to", f"oci-archive:{tmp_path / 'there.tar'}")
    assert done.status == 1
    assert "there.tar" in done.err
    assert "export" not in done.err
    assert (tmp_path / "there.tar").read_text() == "mine"


def test_a_model_that_cannot_be_sealed_is_told_with_the_stage(cli, onnx_folder, tmp_path):
    (onnx_folder / "genai_config.json").unlink()
    target = f"oci:{tmp_path / 'out'}"
    done = cli("image", onnx_folder, "--tag", "a/b:1", "--to", target)
    assert done.status == 1
    assert "image: export: " in done.err
    assert not (tmp_path / "out").exists()


def test_a_bundle_whose_files_were_changed_is_refused(cli, onnx_folder, tmp_path):
    folder = tmp_path / "bundle"
    assert cli("export", onnx_folder, "--out", folder, "--skip-trial").status == 0
    weights = folder / "model" / "model.onnx.data"
    weights.write_bytes(b"\0" * weights.stat().st_size)
    done = cli("image", folder, "--tag", "a/b:1", "--to", f"oci:{tmp_path / 'out'}")
    assert done.status == 1
    assert "image: export: model/model.onnx.data differs from its sha256" in done.err


def test_fetch_does_not_replace_a_folder_unasked(cli, tmp_path):
    (tmp_path / "house").mkdir()
    done = cli("fetch", "--out", tmp_path / "house")
    assert done.status == 1
    assert "house is there already; --force replaces it" in done.err


def test_without_a_container_tool_it_says_what_to_install(cli, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    done = cli("image", MODEL, "--tag", "a/b:1", "--dry-run")
    assert done.status == 1
    assert "no container tool to build with (docker: not installed" in done.err
