import pytest

from edge import cpu
from tests.bench import machine


def test_the_processor_has_a_name():
    lines = ["processor\t: 0", "model name\t: Some CPU: 3 GHz", "model name\t: Another"]
    assert machine.processor(lines) == "Some CPU: 3 GHz"


def test_a_processor_without_a_name_is_its_architecture():
    assert machine.processor(["processor : 0", "BogoMIPS : 50"])


def test_what_the_measurement_uses_is_not_counted_as_others(monkeypatch):
    busy, own, now = iter([100.0, 130.0]), iter([10.0, 25.0]), iter([1000.0, 1010.0])
    monkeypatch.setattr(machine.processes, "machine_cpu_s", lambda: next(busy))
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(now))
    watch = machine.Watch(lambda: next(own))
    seen = watch.read()
    assert seen.other_cores == pytest.approx(1.5)
    assert seen.duration_s == 10.0
    assert seen.cores == cpu.quota_cores()
    assert set(seen.libraries) == {"onnxruntime", "onnxruntime-genai"}
