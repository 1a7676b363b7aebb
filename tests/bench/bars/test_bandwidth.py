import numpy as np
import pytest

from tests.bench.bars import bandwidth

SMALL_BYTES = 1 << 20


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_read_and_copied_at_some_speed(threads):
    assert bandwidth.read(threads, SMALL_BYTES) > 0
    assert bandwidth.copy(threads, SMALL_BYTES) > 0


def test_every_byte_is_looked_at():
    buffer = np.ones(4096, dtype=np.uint8)
    bandwidth._search(buffer.ctypes.data, buffer.size)
    buffer[-1] = 0
    with pytest.raises(ValueError, match="holds a zero"):
        bandwidth._search(buffer.ctypes.data, buffer.size)


def test_a_copy_moves_every_byte():
    buffer = np.arange(256, dtype=np.uint8).repeat(2)
    buffer[256:] = 0
    bandwidth._copy(buffer.ctypes.data, 256)
    assert np.array_equal(buffer[:256], buffer[256:])


def test_the_best_pass_of_all_threads_counts(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 11.0, 20.0, 24.0])
    monkeypatch.setattr(bandwidth.time, "perf_counter", lambda: next(clock))
    touched = []
    found = bandwidth._fastest(2, 100, lambda address, size: touched.append((address, size)))
    assert found == 2 * 100 / 1.0
    assert len(touched) == 2 * bandwidth.PASSES
    assert len({address for address, _ in touched}) == 2
