"""adapter_config.json: strength by module, and what a merge cannot express."""

import math

import pytest
from peft import IA3Config, LoraConfig, PromptTuningConfig

from build.pipeline import lora

pytestmark = pytest.mark.torch


@pytest.fixture
def read(tmp_path, findings, change):
    """Write a configuration as peft does, with `changes` by hand, and read it."""

    def go(config, **changes):
        config.save_pretrained(tmp_path)
        change(tmp_path / lora.CONFIG, **changes)
        (tmp_path / lora.WEIGHTS).write_bytes(b"")
        return lora.read(tmp_path, findings)

    return go


def test_alpha_over_rank(read, findings):
    found = read(LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj"]))
    assert findings.problems == []
    assert found.scale("model.layers.0.self_attn.q_proj") == 2.0
    assert not found.is_transposed


def test_rank_stabilized(read):
    found = read(LoraConfig(r=16, lora_alpha=8, use_rslora=True, fan_in_fan_out=True))
    assert found.scale("any") == 8 / math.sqrt(16)
    assert found.is_transposed


def test_patterns_match_the_end_of_a_modules_path(read):
    patterns = {"rank_pattern": {"layers.1.*q_proj": 4, "down_proj": 2}}
    found = read(LoraConfig(r=8, lora_alpha=8, alpha_pattern={"down_proj": 6}, **patterns))
    assert found.rank_of("model.layers.0.self_attn.q_proj") == 8
    assert found.rank_of("model.layers.1.self_attn.q_proj") == 4
    assert found.scale("model.layers.0.mlp.down_proj") == 3.0
    assert found.scale("model.layers.0.mlp.not_down_proj") == 1.0


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (IA3Config(target_modules=["k"], feedforward_modules=[]), "kind 'IA3', only LoRA can be"),
        (PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "kind 'PROMPT_TUNING'"),
        (LoraConfig(use_dora=True), "the adapter uses use_dora, which is not merged here"),
        (LoraConfig(lora_bias=True), "the adapter uses lora_bias"),
        (LoraConfig(init_lora_weights="pissa"), "init_lora_weights is 'pissa', which changes"),
        (LoraConfig(init_lora_weights="olora"), "init_lora_weights is 'olora'"),
    ],
)
def test_kinds_that_are_refused_by_name(read, findings, config, told):
    assert read(config) is None
    (problem,) = findings.problems
    assert told in problem
    assert "merge_and_unload" in problem


@pytest.mark.parametrize("begun", ["gaussian", True, False])
def test_ways_to_begin_that_leave_the_base_alone(read, findings, begun):
    assert read(LoraConfig(init_lora_weights=begun)) is not None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"r": 0}, "r is 0, expected a number of at least 1"),
        ({"r": None}, "r is None"),
        ({"lora_alpha": "high"}, "lora_alpha is 'high'"),
    ],
)
def test_numbers_that_are_none(read, findings, changes, told):
    assert read(LoraConfig(), **changes) is None
    assert told in findings.problems[0]


def test_a_pickled_adapter(read, findings, tmp_path):
    read(LoraConfig())
    (tmp_path / lora.WEIGHTS).rename(tmp_path / lora.PICKLED)
    assert lora.read(tmp_path, findings) is None
    assert "no adapter_model.safetensors; it is pickled" in findings.problems[0]
