"""The emulator of arm64, fetched as on a machine that has none."""

import platform
import subprocess

import pytest

from scripts import emulation

pytestmark = pytest.mark.image


def test_a_static_and_new_emulator_is_fetched(emulated, tmp_path):
    program = tmp_path / "qemu-aarch64"
    emulation.fetch(program)
    assert list(tmp_path.iterdir()) == [program]
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(said.split("version ")[1].split(".")[0])
    assert major >= emulation.OLDEST_QEMU
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    assert "statically linked" in linked.stdout


def test_a_fit_emulator_is_registered_with_the_kernel(emulated):
    is_native = platform.machine() == "aarch64"
    assert is_native or any(handler.is_fit for handler in emulation.handlers())
