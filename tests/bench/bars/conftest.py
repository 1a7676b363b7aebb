import pytest

from tests.bench.bars import neighbour, prompt, samples


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    for module in (neighbour, prompt, samples):
        monkeypatch.setattr(module, "SETTLE_S", 0)
