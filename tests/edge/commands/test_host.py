"""What doctor says of memory, processor, address and keys: made-up machines and real sockets."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading

import pytest

from edge.commands import host
from edge.config import Settings

MIB = 1 << 20
CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def tree(tmp_path):
    """Writes files below a root of its own and returns the root."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "root"

    return write


@pytest.fixture
def limited(tree):
    return lambda mib: tree({"sys/fs/cgroup/memory.max": str(mib * MIB)})


@pytest.fixture
def large(manifest):
    """A model whose full context takes 100 MiB; it has hardly any weights."""
    return dataclasses.replace(manifest, context_length=1024, kv_bytes_per_token=100 * 1024)


@pytest.mark.parametrize(
    ("limit_mib", "status", "advice"),
    [
        (64, "fail", "raise the memory limit to"),
        (164, "fail", "raise the memory limit to 265 MiB"),
        (200, "warn", "requests of more than 368 tokens are refused: allow 265 MiB"),
        (265, "warn", "room for 1 full contexts, others wait: allow 365 MiB for all"),
        (365, "ok", ""),
        (4096, "ok", ""),
    ],
)
def test_memory(large, limited, limit_mib, status, advice):
    found = host.memory_for(large, Settings(slots=2), limited(limit_mib))
    assert (found.check, found.status) == ("memory", status)
    assert found.advice.startswith(advice)
    assert "a full context of 1024 tokens takes 100 MiB, 2 of them 200 MiB" in found.fact


def test_the_weights_count(large, limited):
    heavy = dataclasses.replace(large.files[0], size_bytes=2000 * MIB)
    heavy_model = dataclasses.replace(large, files=(heavy,))
    assert host.memory_for(large, Settings(), limited(2048)).status == "ok"
    found = host.memory_for(heavy_model, Settings(), limited(2048))
    assert found.status == "fail"
    assert "2.0 GiB" in found.fact


@pytest.mark.parametrize(
    ("kv_limit_mib", "status", "advice"),
    [
        (1, "fail", "raise EDGE_KV_LIMIT to 100 MiB"),
        (50, "warn", "requests of more than 512 tokens are refused: raise EDGE_KV_LIMIT"),
        (100, "ok", ""),
        (500, "warn", "lower EDGE_KV_LIMIT below 136 MiB or unset it"),
    ],
)
def test_a_limit_for_the_cache_of_ones_own(large, limited, kv_limit_mib, status, advice):
    settings = Settings(slots=2, kv_limit=kv_limit_mib * MIB)
    found = host.memory_for(large, settings, limited(300))
    assert (found.status, found.advice) == (status, advice)


def test_a_model_that_does_not_tell_its_cache(large, limited):
    silent = dataclasses.replace(large, kv_bytes_per_token=0)
    assert host.memory_for(silent, Settings(), limited(4096)).status == "ok"
    assert host.memory_for(silent, Settings(kv_limit=MIB), limited(4096)).status == "ok"
    assert host.memory_for(silent, Settings(), limited(100)).status == "fail"


@pytest.mark.parametrize(
    ("quota", "threads", "status", "fact"),
    [
        (None, None, "ok", f"{CORES} cores by affinity, no quota below that"),
        ("100000 100000", None, "ok", "a quota of 1 of them: 1 engine threads, the quota"),
        ("50000 100000", None, "warn", "a quota of 0.5 of them: 1 engine threads"),
        ("100000 100000", 1, "ok", "1 engine threads, by EDGE_THREADS"),
        ("100000 100000", 5, "warn", "5 engine threads, by EDGE_THREADS"),
    ],
)
def test_processor(tree, monkeypatch, quota, threads, status, fact):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES + 1)))
    fact = fact.replace(f"{CORES} cores", f"{CORES + 1} cores")
    root = tree({"sys/fs/cgroup/cpu.max": quota} if quota else {})
    found = host.processor(Settings(threads=threads), root)
    assert found.status == status
    assert fact in found.fact
    assert bool(found.advice) == (status == "warn")


@pytest.mark.parametrize(
    ("machine", "line", "status", "fact"),
    [
        ("x86_64", "flags : avx2 avx512_vnni", "ok", "x86_64 with avx2, avx512_vnni"),
        ("x86_64", "flags : avx2 avx_vnni", "ok", "x86_64 with avx2, avx_vnni"),
        ("x86_64", "flags : avx2", "ok", "x86_64 with avx2, not avx512_vnni or avx_vnni"),
        ("x86_64", "flags : sse4_2", "warn", "x86_64 without avx2"),
        ("aarch64", "Features : asimd asimddp i8mm", "ok", "aarch64 with asimddp, i8mm"),
        ("aarch64", "Features : asimd asimddp", "ok", "aarch64 with asimddp, not i8mm"),
        ("aarch64", "Features : asimd", "warn", "aarch64 without asimddp"),
        ("aarch64", "nothing", "warn", "/proc/cpuinfo lists none"),
        ("riscv64", "isa : rv64", "warn", "riscv64"),
    ],
)
def test_instructions(tree, machine, line, status, fact):
    found = host.instructions(tree({"proc/cpuinfo": line + "\n"}), machine)
    assert found.status == status
    assert fact in found.fact


def test_the_instructions_of_this_machine():
    assert os.uname().machine in host.instructions().fact


def test_an_address_that_is_free():
    found = host.address(Settings(port=0))
    assert (found.status, found.fact) == ("ok", "127.0.0.1, port 0 is free")


def test_an_address_that_somebody_holds():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # Closes at once, so that the question whether it is ready ends soon.
        threading.Thread(target=lambda: taken.accept()[0].close()).start()
        found = host.address(Settings(port=port))
    assert found.status == "fail"
    assert f"EDGE_PORT {port}" in found.fact


def test_an_address_where_the_appliance_itself_listens():
    """As doctor sees it that is run inside the container."""

    def answer():
        connection, _ = taken.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nok\n")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        threading.Thread(target=answer).start()
        found = host.address(Settings(port=taken.getsockname()[1]))
    assert found.status == "ok"
    assert "an appliance is ready there" in found.fact


def test_an_address_of_somebody_else():
    assert host.address(Settings(host="203.0.113.7", port=0)).status == "fail"


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", "ok"), ("::1", "ok"), ("0.0.0.0", "warn"), ("::", "warn")]
)
def test_without_keys_only_loopback_is_good(address, status):
    assert host.keys(Settings(host=address)).status == status


def test_keys_are_counted_and_not_shown(tmp_path):
    path = tmp_path / "keys"
    path.write_text("secret-one\nsecret-two\n")
    found = host.keys(Settings(host="0.0.0.0", api_key_file=path))
    assert (found.status, found.fact) == ("ok", "2 in EDGE_API_KEY_FILE")


@pytest.mark.parametrize("content", [None, ""])
def test_keys_that_cannot_be_had(tmp_path, content):
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    found = host.keys(Settings(api_key_file=path))
    assert found.status == "fail"
    assert "EDGE_API_KEY_FILE" in found.fact


def test_telemetry():
    assert host.telemetry(True).status == "ok"
    assert host.telemetry(False).status == "warn"
    assert "ORT_DISABLE_TELEMETRY=1" in host.telemetry(False).advice


def test_settings():
    assert [found.status for found in host.settings_found([])] == ["ok"]
    assert [found.fact for found in host.settings_found(["a", "b"])] == ["a", "b"]
    assert {found.status for found in host.settings_found(["a", "b"])} == {"fail"}
