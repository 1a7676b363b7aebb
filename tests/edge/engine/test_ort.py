"""Sessions, tensors and bound runs, against onnxruntime's own binding on the demo model."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge.engine import ort

VOCABULARY, LAYER_HEADS, HEAD = 3072, 4, 64
LONG = 1500  # tokens of a prompt that takes the runtime a while


@pytest.fixture(scope="module")
def graph(demo_model):
    return demo_model / "model.onnx"


@pytest.fixture(scope="module")
def session(graph):
    found = ort.Session(graph, threads=1, spin=False)
    yield found
    found.close()


@pytest.fixture(scope="module")
def plain(graph):
    """The same graph on onnxruntime's Python binding, with the same settings."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options)


class Memory:
    """Arrays for every port: KV cache of `length` tokens, past and present being the same."""

    def __init__(self, session, ids, length):
        self.ids = np.array(ids, dtype=np.int64)
        rows = len(self.ids)
        self.mask = np.ones(self.ids.shape, dtype=np.int64)
        self.logits = np.zeros((rows, 1, VOCABULARY), dtype=np.float32)
        self.names = [port.name for port in session.inputs if port.name.startswith("past")]
        shape = (rows, LAYER_HEADS, length, HEAD)
        self.caches = [np.zeros(shape, dtype=np.float32) for _ in self.names]

    def ports(self):
        """(is input, name, array) of every port."""
        yield True, "input_ids", self.ids
        yield True, "attention_mask", self.mask
        yield False, "logits", self.logits
        for name, cache in zip(self.names, self.caches, strict=True):
            yield True, name, cache
            yield False, name.replace("past_key_values", "present"), cache


def bound(session, memory):
    binding = ort.Binding(session)
    for is_input, name, array in memory.ports():
        (binding.input if is_input else binding.output)(name, ort.Tensor.over(array))
    return binding


def ran(session, memory):
    """`memory` after a run over it."""
    session.run(bound(session, memory), ort.RunOptions())
    return memory


def ran_plainly(plain, memory):
    """`memory` after a run by onnxruntime's Python binding."""
    binding = plain.io_binding()
    for is_input, name, array in memory.ports():
        bind = binding.bind_input if is_input else binding.bind_output
        bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    plain.run_with_iobinding(binding)
    return memory


def assert_equal(one, other):
    assert np.array_equal(one.logits, other.logits)
    assert all(np.array_equal(a, b) for a, b in zip(one.caches, other.caches, strict=True))


@pytest.mark.parametrize(
    "ids", [[[5]], [[5, 6, 7]], [[5, 6], [9, 10]], [list(range(2, 300))]], ids=len
)
def test_a_run_is_bit_for_bit_that_of_onnxruntime(session, plain, ids):
    memory = ran(session, Memory(session, ids, 320))
    assert_equal(memory, ran_plainly(plain, Memory(session, ids, 320)))
    assert memory.logits.any()
    assert all(cache.any() for cache in memory.caches)


def test_a_prompt_goes_on_in_the_same_memory(session, plain):
    one, other = (Memory(session, [[5, 6, 7]], 16) for _ in range(2))
    ran(session, one)
    ran_plainly(plain, other)
    for memory in (one, other):
        memory.ids = np.array([[8]], dtype=np.int64)
        memory.mask = np.ones((1, 4), dtype=np.int64)
    before = one.caches[0].copy()
    assert_equal(ran(session, one), ran_plainly(plain, other))
    assert np.array_equal(one.caches[0][:, :, :3], before[:, :, :3])
    assert one.caches[0][:, :, 3].any()
    assert not one.caches[0][:, :, 4:].any()


def test_memory_that_is_known_by_its_address(session):
    memory = Memory(session, [[5, 6, 7]], 16)
    binding = bound(session, memory)
    taken = np.zeros(2 * VOCABULARY, dtype=np.float32)
    address = taken.ctypes.data + VOCABULARY * 4
    tensor = ort.Tensor(address, VOCABULARY * 4, (1, 1, VOCABULARY), taken.dtype)
    binding.output("logits", tensor)
    session.run(binding, ort.RunOptions())
    assert not taken[:VOCABULARY].any()
    expected = ran(session, Memory(session, [[5, 6, 7]], 16)).logits
    assert np.array_equal(taken[VOCABULARY:], expected[0, 0])
    assert not memory.logits.any()


def test_a_name_that_is_bound_again_is_replaced(session):
    memory = Memory(session, [[5, 6, 7]], 16)
    binding = bound(session, memory)
    ids = np.array([[9, 10, 11]], dtype=np.int64)
    binding.input("input_ids", ort.Tensor.over(ids))
    session.run(binding, ort.RunOptions())
    assert_equal(memory, ran(session, Memory(session, ids, 16)))


def test_a_binding_keeps_its_arrays_until_they_are_replaced(session):
    binding = ort.Binding(session)
    ids, later = (np.array([[5]], dtype=np.int64) for _ in range(2))
    free = sys.getrefcount(ids)
    binding.input("input_ids", ort.Tensor.over(ids))
    assert sys.getrefcount(ids) == free + 1
    binding.input("input_ids", ort.Tensor.over(later))
    assert sys.getrefcount(ids) == free
    assert sys.getrefcount(later) == free + 1
    del binding
    gc.collect()
    assert sys.getrefcount(later) == free


def test_several_threads_run_one_session(session):
    prompts = [[list(range(start, start + 200))] for start in (2, 300, 700)]
    alone = [ran(session, Memory(session, ids, 256)) for ids in prompts]
    together = [Memory(session, ids, 256) for ids in prompts]
    threads = [threading.Thread(target=ran, args=(session, memory)) for memory in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("spin", [False, True])
def test_threads_inside_an_operator(graph, session, spin):
    several = ort.Session(graph, threads=2, spin=spin)
    ids = [list(range(2, 130))]
    expected = ran(session, Memory(session, ids, 128)).logits
    found = ran(several, Memory(several, ids, 128)).logits
    assert np.allclose(found, expected, atol=1e-4)
    several.close()


def test_a_run_is_ended_from_another_thread(session):
    memory = Memory(session, [[5] * LONG], LONG)
    binding, options = bound(session, memory), ort.RunOptions()
    session.run(binding, options)
    expected = memory.logits.copy()

    def run_on():
        while True:
            session.run(binding, options)

    # The end may come between two runs: the next one meets it.
    timer = threading.Timer(0.02, options.terminate)
    timer.start()
    with pytest.raises(ort.Terminated):
        run_on()
    timer.join()
    with pytest.raises(ort.Terminated):
        session.run(binding, options)
    session.run(bound(session, Memory(session, [[5]], 4)), ort.RunOptions())
    options.reset()
    session.run(binding, options)
    assert np.array_equal(memory.logits, expected)


def test_other_threads_work_during_a_run(session):
    binding = bound(session, Memory(session, [[5] * LONG], LONG))
    ticks, running = [], threading.Event()

    def tick():
        running.wait()
        while running.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    running.set()
    while not ticks:
        time.sleep(0.001)
    start = time.perf_counter()
    session.run(binding, ort.RunOptions())
    end = time.perf_counter()
    running.clear()
    thread.join()
    assert len([at for at in ticks if start < at < end]) > 3


def test_other_threads_work_during_a_load(graph):
    finished = threading.Event()
    loads = []

    def load():
        while len(loads) < 20:
            loads.append(ort.Session(graph, threads=1, spin=False))
        finished.set()

    switches = 0
    thread = threading.Thread(target=load)
    thread.start()
    while not finished.wait(0.001):
        switches += 1
    thread.join()
    # Held by the runtime, the interpreter would be had between two loads at most.
    assert switches > len(loads)


@pytest.mark.parametrize("content", [None, b"", b"no graph"])
def test_a_file_that_is_no_graph(tmp_path, content):
    path = tmp_path / "m\u00f6del.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ort.OrtError) as caught:
        ort.Session(path, threads=1, spin=False)
    assert str(caught.value)
    assert not isinstance(caught.value, ort.Terminated)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("input_ids", np.ones((1, 3), dtype=np.float32), "Unexpected input data type"),
        ("input_ids", np.ones(3, dtype=np.int64), "Invalid rank for input"),
        ("logits", np.ones((1, 1, 17), dtype=np.float32), "Got: 17 Expected: 3072"),
        ("past_key_values.0.key", np.ones((1, 9, 16, HEAD), np.float32), "Got: 9 Expected: 4"),
    ],
)
def test_a_tensor_that_does_not_fit_its_port(session, capfd, name, array, words):
    binding = bound(session, Memory(session, [[5, 6, 7]], 16))
    (binding.output if name == "logits" else binding.input)(name, ort.Tensor.over(array))
    with pytest.raises(ort.OrtError, match=words):
        session.run(binding, ort.RunOptions())
    # What is raised is not printed as well.
    assert capfd.readouterr() == ("", "")


def test_a_run_without_all_inputs(session):
    binding = ort.Binding(session)
    binding.output("logits", ort.Tensor.over(np.ones((1, 1, VOCABULARY), dtype=np.float32)))
    with pytest.raises(ort.OrtError):
        session.run(binding, ort.RunOptions())


@pytest.mark.parametrize("side", ["input", "output"])
def test_an_unknown_name_leaves_the_binding_usable(session, side):
    memory = Memory(session, [[5, 6, 7]], 16)
    binding = bound(session, memory)
    with pytest.raises(ort.OrtError, match=r"expected one of .*, got 'nowhere'"):
        getattr(binding, side)("nowhere", ort.Tensor.over(memory.ids))
    session.run(binding, ort.RunOptions())
    assert_equal(memory, ran(session, Memory(session, [[5, 6, 7]], 16)))


def test_arrays_that_are_no_tensors():
    array = np.zeros((4, 6), dtype=np.float32)
    with pytest.raises(ValueError, match=r"C-contiguous.*\(4, 3\)"):
        ort.Tensor.over(array[:, :3])
    with pytest.raises(ValueError, match=r"dtype: expected one of .*, got complex64"):
        ort.Tensor.over(np.zeros(3, dtype=np.complex64))
    with pytest.raises(ort.OrtError, match="expected 96, got 95"):
        ort.Tensor(array.ctypes.data, 95, array.shape, array.dtype)
    with pytest.raises(ort.OrtError):
        ort.Tensor(array.ctypes.data, array.nbytes, (-1, 6), array.dtype)


def test_a_closed_session_and_its_bindings_refuse(graph):
    session = ort.Session(graph, threads=1, spin=False)
    memory = Memory(session, [[5]], 4)
    binding = bound(session, memory)
    session.close()
    session.close()
    with pytest.raises(ort.OrtError, match="session: expected an open one"):
        session.run(binding, ort.RunOptions())
    with pytest.raises(ort.OrtError, match="session: expected an open one"):
        ort.Binding(session)
    with pytest.raises(ort.OrtError, match="got 'input_ids'"):
        binding.input("input_ids", ort.Tensor.over(memory.ids))


def test_sessions_in_a_cycle_are_freed(graph):
    class Engine:
        pass

    engine = Engine()
    engine.itself = engine
    engine.session = ort.Session(graph, threads=1, spin=False)
    engine.binding = bound(engine.session, Memory(engine.session, [[5]], 4))
    gone = weakref.ref(engine.session)
    del engine
    gc.collect()
    assert gone() is None


def test_a_binding_runs_on_its_own_session_only(graph, session):
    other = ort.Session(graph, threads=1, spin=False)
    with pytest.raises(ort.OrtError, match="another's"):
        other.run(bound(session, Memory(session, [[5]], 4)), ort.RunOptions())


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_ten_thousand_bindings_and_runs_leave_nothing_behind(session):
    memory, options = Memory(session, [[5]], 64), ort.RunOptions()
    masks = [np.ones((1, length), dtype=np.int64) for length in range(1, 65)]
    binding = bound(session, memory)

    def cycle(count):
        for index in range(count):
            binding.input("attention_mask", ort.Tensor.over(masks[index % 64]))
            for is_input, name, array in memory.ports():
                if is_input and array is not memory.mask:
                    binding.input(name, ort.Tensor.over(array))
            session.run(binding, options)

    cycle(500)
    before = resident_bytes()
    cycle(10_000)
    assert resident_bytes() - before < 2 << 20


def test_nothing_is_written_at_home(repository, graph, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    program = (
        "from pathlib import Path; from edge.engine import ort\n"
        f"session = ort.Session(Path({str(graph)!r}), threads=1, spin=False)"
    )
    subprocess.run([sys.executable, "-B", "-c", program], cwd=repository, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []


def test_a_process_ends_in_the_middle_of_a_run(repository, graph):
    program = f"""
import threading, time
import numpy as np
from pathlib import Path
from edge.engine import ort
session = ort.Session(Path({str(graph)!r}), threads=1, spin=False)
binding, options = ort.Binding(session), ort.RunOptions()
for port in (*session.inputs, *session.outputs):
    length = 1 if port.name == "logits" else {LONG}
    shape = [1 if d == "batch_size" else {HEAD} if d == "kv_cache_dim" else d for d in port.shape]
    array = np.ones([length if isinstance(d, str) else d for d in shape], port.dtype)
    bind = binding.input if port in session.inputs else binding.output
    bind(port.name, ort.Tensor.over(array))
started = threading.Event()
def run():
    while True:
        started.set()
        session.run(binding, options)
threading.Thread(target=run, daemon=True).start()
started.wait()
time.sleep(0.05)
"""
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, timeout=60)
