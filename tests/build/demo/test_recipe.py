"""The recipe from end to end on a network of a few thousand weights: train, export, answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from build.demo import corpus, layout
from build.demo.evaluate import MODEL, Respondent, evaluate, prompt
from build.demo.questions import questions
from build.errors import BuildFailed

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="the training recipe needs torch")

QUESTIONS = list(questions())
TINY = {"hidden_size": 128, "layers": 1, "heads": 2, "intermediate_size": 128, "vocab_size": 600}


def recipe(**changes: Any) -> Any:
    from build.demo.network import Shape
    from build.demo.train import Recipe

    small = Recipe(
        shape=Shape(**TINY, context_length=1024),
        windows=2,
        practice_windows=1,
        tokenizer_chats=400,
        batch_tokens=2048,
        bfloat16=False,
        quantized_from=0.5,
    )
    return replace(small, **changes)


@pytest.fixture(scope="module", autouse=True)
def _small_windows() -> Any:
    from build.demo import batches

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "WINDOW", 64)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder in which the tiny recipe has run, and what the run reported."""
    from build.demo import questions as questions_module
    from build.demo import train

    folder, lines = tmp_path_factory.mktemp("run"), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions_module, "questions", lambda: QUESTIONS[::200])
        train.train(recipe(), folder, lines.append)
    return folder, lines


@pytest.fixture(scope="module")
def exported(trained: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from build.demo import export

    folder = tmp_path_factory.mktemp("export") / "model"
    export.export(trained[0] / "weights", folder)
    return folder


def test_the_run_reports_its_recipe_its_progress_and_its_scores(
    trained: tuple[Path, list[str]],
) -> None:
    lines = trained[1]
    assert "'seed': 1" in lines[0]
    assert lines[1].startswith("parameters ")
    assert [line.split(":")[0] for line in lines if line.startswith("window")] == [
        "window   1 of 3, int4",
        "window   2 of 3, int4",
        "window   3 of 3, int4",
    ]
    assert any(line.startswith("  capital, held_out: ") for line in lines)


def test_the_weights_are_those_that_int4_will_have(trained: tuple[Path, list[str]]) -> None:
    from safetensors.numpy import load_file

    weights = load_file(trained[0] / "weights" / "model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"float16"}
    blocks = weights["lm_head.weight"].reshape(-1, 128)
    assert max(len(set(block.tolist())) for block in blocks) <= 16


def test_the_same_recipe_gives_the_same_weights(trained: tuple[Path, list[str]]) -> None:
    from build.demo import train

    runs = [train.start(recipe()) for _ in range(2)]
    losses = [[train.learn_window(run) for _ in range(2)] for run in runs]
    assert losses[0] == losses[1]
    for left, right in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_an_interrupted_run_goes_on_where_it_stood(tmp_path: Path) -> None:
    from build.demo import train

    whole, first, second = (train.start(recipe()) for _ in range(3))
    train.learn_window(whole)
    train.learn_window(first)
    train.checkpoint(first, tmp_path / "checkpoint.pt")
    assert train.resume(second, tmp_path / "checkpoint.pt")
    assert second.windows_done == 1
    assert train.learn_window(second) == train.learn_window(whole)
    assert not (tmp_path / "checkpoint.new").exists()


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    from build.demo import train

    train.checkpoint(train.start(recipe()), tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt belongs to another recipe"):
        train.resume(train.start(recipe(seed=2)), tmp_path / "checkpoint.pt")


def test_without_a_checkpoint_a_run_starts_afresh(tmp_path: Path) -> None:
    from build.demo import train

    run = train.start(recipe())
    assert not train.resume(run, tmp_path / "checkpoint.pt")
    assert run.windows_done == 0


def test_training_lowers_the_loss() -> None:
    from build.demo import train

    run = train.start(recipe(windows=6, learning_rate=5e-3))
    losses = [train.learn_window(run) for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_pace_warms_up_and_comes_down() -> None:
    from build.demo.train import pace

    assert pace(0.0, 0.1) < 0.01
    assert pace(0.05, 0.1) == pytest.approx(0.5, abs=0.01)
    assert pace(0.1, 0.1) == pytest.approx(1.0)
    falling = [pace(step / 20, 0.1) for step in range(2, 21)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == pytest.approx(0.02)


def test_only_what_the_model_says_is_learned() -> None:
    from build.demo import batches, train

    run = train.start(recipe())
    chat = next(chat for chat in corpus.chats(1, 0, 50) if len(chat.exchanges) == 2)
    encoded = batches.encode(chat, run.vocabulary, 512)
    said = [token for token, own in zip(encoded.ids, encoded.said, strict=True) if own]
    expected = "".join(text for text, own in layout.segments(chat) if own)
    assert run.vocabulary.decode(said, skip_special_tokens=False) == expected


def test_encoding_in_parts_gives_the_ids_of_the_whole() -> None:
    from build.demo import batches, train

    run = train.start(recipe())
    for chat in corpus.chats(3, 0, 200):
        if chat.layout == corpus.CHAT:
            whole = run.vocabulary.encode(layout.text(chat)).ids
            assert batches.encode(chat, run.vocabulary, 10_000).ids == whole


def test_batches_keep_to_their_budget_and_lose_nothing() -> None:
    from build.demo import batches, train

    run = train.start(recipe())
    made = batches.window(1, 0, run.vocabulary, 2048, 256)
    assert sum(batch.ids.shape[0] for batch in made) == 64
    assert all(batch.ids.numel() <= 2048 for batch in made)
    assert all(batch.ids.shape == batch.said.shape for batch in made)
    again = batches.window(1, 0, run.vocabulary, 2048, 256)
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(made, again, strict=True))


def test_the_export_is_an_int4_phi_3(exported: Path) -> None:
    config = json.loads((exported / "genai_config.json").read_text())
    assert config["model"]["type"] == "phi3"
    assert config["model"]["context_length"] == 1024
    assert config["model"]["eos_token_id"] == [4, 0]
    assert {file.name for file in exported.iterdir()} >= {
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }


def test_the_exported_weights_are_the_trained_ones(
    trained: tuple[Path, list[str]], exported: Path
) -> None:
    import numpy as np
    import onnx
    from onnx import numpy_helper
    from safetensors.numpy import load_file

    graph = onnx.load(str(exported / "model.onnx")).graph
    tensors = {each.name: each for each in graph.initializer}
    head = next(node for node in graph.node if node.op_type == "MatMulNBits" and "lm_" in node.name)
    codes, scales = (numpy_helper.to_array(tensors[name]) for name in head.input[1:3])
    unpacked = np.stack((codes & 0xF, codes >> 4), axis=-1).reshape(*codes.shape[:2], -1)
    values = (unpacked.astype(np.float32) - 8) * scales.reshape(*codes.shape[:2], 1)
    kept = load_file(trained[0] / "weights" / "model.safetensors")["lm_head.weight"]
    np.testing.assert_allclose(values.reshape(kept.shape), kept, rtol=2e-3, atol=1e-6)


def test_the_exported_model_answers_as_torch_does(
    trained: tuple[Path, list[str]], exported: Path
) -> None:
    from transformers import AutoTokenizer, Phi3ForCausalLM

    model = Phi3ForCausalLM.from_pretrained(trained[0] / "weights", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(trained[0] / "weights")
    text = prompt(QUESTIONS[0].chat)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(ids).logits[0, -1]
    respondent = Respondent(exported)
    assert respondent.tokenizer.encode(text).tolist() == ids[0].tolist()
    likely = logits.topk(3).indices.tolist()  # the runtime computes with int8 activations
    assert respondent.say(text)[0] in likely


def test_the_exported_model_can_be_evaluated(exported: Path) -> None:
    result = evaluate(Respondent(exported), QUESTIONS[:4])
    assert result.scores[0].questions == 4
    assert result.tokens > 0
    assert result.problems  # a network of this size knows nothing


def test_the_committed_model_is_the_export_of_the_committed_weights(tmp_path: Path) -> None:
    from build.demo import export

    export.export(MODEL.parent / "weights", tmp_path / "model")
    for file in (tmp_path / "model").iterdir():
        assert file.read_bytes() == (MODEL / file.name).read_bytes(), file.name


def test_a_builder_that_fails_says_why(tmp_path: Path) -> None:
    from build.demo import export

    (tmp_path / "config.json").write_text('{"model_type": "phi3", "architectures": ["Nothing"]}')
    with pytest.raises(BuildFailed, match=r"of Nothing with .*ended with status 1 after saying:"):
        export.export(tmp_path, tmp_path / "out")
