"""Merged weights against those of peft's own `merge_and_unload`."""

import copy

import ml_dtypes
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from build.errors import InvalidModel, OutputRefused
from build.pipeline import lora, merge, weights
from tests.build.pipeline.conftest import read_tensors, write_tensors

pytestmark = pytest.mark.torch
TARGETS = ["qkv_proj", "o_proj", "down_proj", "embed_tokens"]
KINDS = {
    "plain": {"r": 4, "lora_alpha": 8, "target_modules": TARGETS},
    "stabilized": {"r": 8, "lora_alpha": 5, "use_rslora": True, "target_modules": ["qkv_proj"]},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": TARGETS,
        "rank_pattern": {"layers.1.self_attn.qkv_proj": 2, "embed_tokens": 3},
        "alpha_pattern": {"down_proj": 3},
    },
    "whole modules": {
        "r": 2,
        "lora_alpha": 2,
        "target_modules": ["o_proj"],
        "modules_to_save": ["lm_head"],
    },
    "embeddings alone": {"r": 2, "lora_alpha": 9, "target_modules": ["embed_tokens"]},
}


def adapted(model, folder, **options):
    """Save a LoRA of `model` with random weights, so that it changes something."""
    torch.manual_seed(3)
    made = get_peft_model(copy.deepcopy(model), LoraConfig(task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                value.copy_(torch.randn_like(value) * 0.05)
    made.save_pretrained(folder)


def saved(model, folder, **options):
    model.save_pretrained(folder, **options)
    return folder


def merged(base, adapter, into, findings):
    found = weights.read(base, findings)
    settled = lora.read(adapter, findings)
    assert findings.problems == []
    done = merge.merge(found, adapter, settled, into)
    return {k: v for name in done.shards for k, v in read_tensors(done.folder / name).items()}


def as_numpy(value):
    value = value.contiguous()
    if value.dtype == torch.bfloat16:
        return value.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_pefts_merge(demo_pipeline, tmp_path, findings, kind, dtype):
    model = copy.deepcopy(demo_pipeline.model).to(dtype)
    base = saved(model, tmp_path / "base")
    adapted(model, tmp_path / "adapter", **KINDS[kind])
    ours = merged(base, tmp_path / "adapter", tmp_path / "merged", findings)
    theirs = PeftModel.from_pretrained(model, tmp_path / "adapter").merge_and_unload().state_dict()
    before = read_tensors(base / weights.SINGLE)
    assert ours.keys() == before.keys() == theirs.keys()
    changed = {name for name in ours if not np.array_equal(ours[name], before[name])}
    assert changed
    for name, value in ours.items():
        wanted = as_numpy(theirs[name])
        assert value.dtype == wanted.dtype
        wide, other = value.astype(np.float64), wanted.astype(np.float64)
        # Sums in another order may round the last bit the other way.
        step = np.maximum(np.abs(other), 2.0**-8) * float(ml_dtypes.finfo(value.dtype).eps) * 2
        assert (np.abs(wide - other) <= step).all(), name
        if name in changed:
            assert np.mean(wide != other) < (0.5 if dtype == torch.float32 else 0.01)


def test_only_the_shards_that_change_are_written(demo_pipeline, tmp_path, findings):
    base = saved(demo_pipeline.model, tmp_path / "base", max_shard_size="2MB")
    adapted(demo_pipeline.model, tmp_path / "a", r=2, lora_alpha=4, target_modules=["embed_tokens"])
    ours = merged(base, tmp_path / "a", tmp_path / "merged", findings)
    linked = {path.name for path in (tmp_path / "merged").iterdir() if path.is_symlink()}
    found = weights.read(base, findings)
    changed = {
        shard for shard, held in found.tensors.items() if "model.embed_tokens.weight" in held
    }
    assert len(found.shards) > 2
    assert linked == {*found.files} - changed
    assert ours.keys() == found.all.keys()
    assert weights.read(tmp_path / "merged", findings).all == found.all


def test_weights_the_other_way_round(tmp_path, findings):
    """As in GPT-2, whose linear layers are stored transposed, under a name without its head."""
    base, a, b = (np.random.default_rng(1).normal(size=s) for s in ((6, 3), (2, 6), (3, 2)))
    write_tensors(tmp_path / weights.SINGLE, {"h.0.c_attn.weight": base.astype(np.float32)})
    name = "base_model.model.transformer.h.0.c_attn.lora_{}.weight"
    parts = {name.format("A"): a.astype(np.float32), name.format("B"): b.astype(np.float32)}
    write_tensors(tmp_path / lora.WEIGHTS, parts)
    LoraConfig(r=2, lora_alpha=3, fan_in_fan_out=True).save_pretrained(tmp_path)
    ours = merged(tmp_path, tmp_path, tmp_path / "merged", findings)["h.0.c_attn.weight"]
    np.testing.assert_allclose(ours, base + (b @ a).T * 1.5, rtol=1e-5, atol=1e-6)


A, B = "base_model.model.x.lora_A.weight", "base_model.model.x.lora_B.weight"
ONES = np.ones((2, 4), np.float32), np.ones((3, 2), np.float32)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, "the adapter's file holds no tensors"),
        ({A: ONES[0]}, "it has base_model.model.x.lora_A.weight without its B"),
        ({A: ONES[0][:1], B: ONES[1]}, "has the rank 1, its configuration 2"),
        ({A: ONES[0][:, :3], B: ONES[1]}, "x.weight has the shape [3, 4], its part [3, 3]"),
        ({A: ONES[0].astype(np.int64), B: ONES[1]}, "its part for x.weight is of the type I64"),
        ({"base_model.model.y.weight": ONES[0]}, "the base has no tensor y.weight"),
        ({"base_model.model.n.weight": ONES[0][:, :1]}, "n.weight is of the type I64"),
        ({"base_model.model.x.weight": ONES[0]}, "its part [2, 4]"),
    ],
)
def test_adapters_that_do_not_fit(tmp_path, findings, parts, told):
    base = {"x.weight": np.zeros((3, 4), np.float32), "n.weight": np.zeros((1,), np.int64)}
    write_tensors(tmp_path / weights.SINGLE, base)
    write_tensors(tmp_path / lora.WEIGHTS, parts)
    settled = lora.Lora(2.0, 2, {}, {}, False, False, "")
    with pytest.raises(InvalidModel) as caught:
        merge.merge(weights.read(tmp_path, findings), tmp_path, settled, tmp_path / "merged")
    assert told in str(caught.value)
    assert not (tmp_path / "merged").exists()


def test_a_disk_without_room(tmp_path, findings, monkeypatch):
    write_tensors(tmp_path / weights.SINGLE, {"x.weight": np.zeros((3, 4), np.float32)})
    write_tensors(tmp_path / lora.WEIGHTS, {A: ONES[0], B: ONES[1]})
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(merge.shutil, "disk_usage", lambda path: full)
    settled = lora.Lora(2.0, 2, {}, {}, False, False, "")
    with pytest.raises(OutputRefused, match="merging the adapter needs"):
        merge.merge(weights.read(tmp_path, findings), tmp_path, settled, tmp_path / "merged")
