"""The pyfunc with the demo model: what it says, and how it is told to say it."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai as og
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModelContext

from build import pyfunc
from build.pyfunc import OnnxChat

SPAIN = "What is the capital of Spain?"
PROMPTS = [SPAIN, "What is the capital of Colombia?", "Tell me a joke about an atom."]
GREEDY = {"temperature": 0.0, "max_tokens": 48}
CONTEXT_LENGTH = 2048

Load = Callable[..., OnnxChat]


def load(folder: Path, **config: Any) -> OnnxChat:
    model = OnnxChat()
    model.load_context(PythonModelContext({"onnx": str(folder)}, config))
    return model


@pytest.fixture(scope="module")
def model(demo_model: Path) -> OnnxChat:
    return load(demo_model)


def ask(model: OnnxChat, prompts: Any, **params: Any) -> list[str]:
    return model.predict(None, prompts, {**GREEDY, **params})


def stream(model: OnnxChat, prompt: str, **params: Any) -> list[str]:
    return list(model.predict_stream(None, prompt, {**GREEDY, **params}))


def as_chat(prompt: str) -> str:
    return f"<|user|>\n{prompt}<|end|>\n<|assistant|>\n"


def argmax_text(folder: Path, text: str, max_tokens: int) -> str:
    """The appliance's greedy rule, spelled out: argmax of the logits, step by step."""
    model = og.Model(str(folder))
    tokenizer = og.Tokenizer(model)
    eos = json.loads((folder / "genai_config.json").read_text())["model"]["eos_token_id"]
    options = og.GeneratorParams(model)
    options.set_search_options(max_length=CONTEXT_LENGTH, do_sample=False)
    generator = og.Generator(model, options)
    generator.append_tokens(tokenizer.encode(text))
    ids: list[int] = []
    while len(ids) < max_tokens:
        ids.append(int(np.argmax(generator.get_logits().reshape(-1))))
        if ids[-1] in eos:
            return tokenizer.decode(ids[:-1])
        generator.append_tokens(np.array(ids[-1:], dtype=np.int32))
    return tokenizer.decode(ids)


def test_the_capital_of_spain(model: OnnxChat) -> None:
    assert "Madrid" in ask(model, [SPAIN])[0]


def test_every_row_gets_the_answer_that_it_gets_alone(model: OnnxChat) -> None:
    together = ask(model, pd.DataFrame({"prompt": PROMPTS}))
    assert together == [ask(model, prompt)[0] for prompt in PROMPTS]
    assert len(set(together)) == len(PROMPTS)


def test_no_rows_get_no_answers(model: OnnxChat) -> None:
    assert ask(model, []) == []


@pytest.mark.parametrize("prompt", PROMPTS)
def test_temperature_0_is_the_argmax_of_every_step(
    model: OnnxChat, demo_model: Path, prompt: str
) -> None:
    expected = argmax_text(demo_model, as_chat(prompt), 48)
    assert ask(model, prompt) == [expected]
    assert expected


def test_the_answer_ends_by_itself_and_without_its_mark(model: OnnxChat) -> None:
    short, long = ask(model, SPAIN, max_tokens=48), ask(model, SPAIN, max_tokens=300)
    assert short == long
    assert "<|" not in long[0]


def test_pieces_of_a_stream_make_the_answer(model: OnnxChat) -> None:
    for prompt in PROMPTS:
        pieces = stream(model, prompt)
        assert "".join(pieces) == ask(model, prompt)[0]
        assert len(pieces) > 1


def test_a_stream_answers_one_prompt_and_says_so_at_once(model: OnnxChat) -> None:
    with pytest.raises(MlflowException, match="answers one prompt, the input has 2"):
        model.predict_stream(None, ["a", "b"])


def test_an_abandoned_stream_leaves_the_model_usable(model: OnnxChat) -> None:
    pieces = model.predict_stream(None, SPAIN, GREEDY)
    first = next(pieces)
    assert ask(model, SPAIN)[0].startswith(first)
    del pieces
    assert "Madrid" in ask(model, SPAIN)[0]


def test_characters_of_several_bytes_stay_whole(model: OnnxChat) -> None:
    """At temperature 2 the text is wild; what is whole in it must come out whole."""
    wild = {"temperature": 2.0, "max_tokens": 96}
    for seed in range(12):
        pieces = stream(model, "Say it in colours: é ñ 日本", seed=seed, **wild)
        assert "".join(pieces) == ask(model, "Say it in colours: é ñ 日本", seed=seed, **wild)[0]
        assert not any("\ufffd" in piece for piece in pieces[:-1])
    assert any("á" in piece for piece in stream(model, PROMPTS[1]))


def test_max_tokens_bounds_the_answer(model: OnnxChat, demo_model: Path) -> None:
    tokenizer = og.Tokenizer(og.Model(str(demo_model)))
    whole = tokenizer.encode(ask(model, SPAIN)[0])
    for count in range(1, len(whole)):
        assert ask(model, SPAIN, max_tokens=count) == [tokenizer.decode(whole[:count])]


def test_memory_is_taken_for_prompt_and_answer_never_for_the_context(
    model: OnnxChat, demo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class Recording(og.GeneratorParams):
        def set_search_options(self, **options: Any) -> None:
            asked.append(options)
            super().set_search_options(**options)

    tokens = len(og.Tokenizer(og.Model(str(demo_model))).encode(as_chat(SPAIN)))
    monkeypatch.setattr(og, "GeneratorParams", Recording)
    ask(model, SPAIN, max_tokens=10)
    ask(model, SPAIN, max_tokens=10**9)
    assert [options["max_length"] for options in asked] == [tokens + 10, CONTEXT_LENGTH]


def test_a_prompt_beyond_the_context_is_refused_with_both_figures(model: OnnxChat) -> None:
    with pytest.raises(MlflowException, match=r"has \d{4,} tokens, .* context is 2048") as caught:
        ask(model, ["short", "word " * 3000])
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_prompt_that_just_fits_is_answered_with_one_token(
    demo_model: Path, tmp_path: Path
) -> None:
    small = Path(shutil.copytree(demo_model, tmp_path / "small"))
    tokens = len(og.Tokenizer(og.Model(str(demo_model))).encode(as_chat(SPAIN)))
    config = json.loads((small / "genai_config.json").read_text())
    for room, answered in ((1, True), (0, False)):
        config["model"]["context_length"] = tokens + room
        config["search"]["max_length"] = tokens + room
        (small / "genai_config.json").write_text(json.dumps(config))
        if answered:
            assert len(stream(load(small), SPAIN)) == 1
        else:
            with pytest.raises(MlflowException, match=f"has {tokens} tokens"):
                stream(load(small), SPAIN)


def next_token_chances(folder: Path, text: str, temperature: float) -> tuple[str, float]:
    """The likeliest token after `text`, and its probability at `temperature`."""
    runtime = og.Model(str(folder))
    tokenizer = og.Tokenizer(runtime)
    options = og.GeneratorParams(runtime)
    options.set_search_options(max_length=CONTEXT_LENGTH)
    generator = og.Generator(runtime, options)
    generator.append_tokens(tokenizer.encode(text))
    logits = generator.get_logits().reshape(-1).astype(np.float64) / temperature
    chances = np.exp(logits - logits.max())
    best = int(chances.argmax())
    return tokenizer.decode([best]), float(chances[best] / chances.sum())


def test_temperature_samples_from_the_model_s_own_distribution(demo_model: Path) -> None:
    raw = load(demo_model, prompt_format="raw")
    beginnings = ("The capital of", "Hmm", "I", "What", "A", "Spain", "and")
    known = {text: next_token_chances(demo_model, text, 1.5) for text in beginnings}
    text, (best, chance) = min(known.items(), key=lambda item: abs(item[1][1] - 0.5))
    assert 0.01 < chance < 0.99, "a distribution that a draw can tell from greedy"
    drawn = [ask(raw, text, temperature=1.5, max_tokens=1, seed=seed)[0] for seed in range(400)]
    share = np.mean([answer == best for answer in drawn])
    deviation = math.sqrt(chance * (1 - chance) / len(drawn))
    assert abs(share - chance) < 5 * deviation
    assert len(set(drawn)) > 1


def test_a_seed_repeats_an_answer_and_none_does_not(model: OnnxChat) -> None:
    wild = {"temperature": 2.0, "max_tokens": 24}
    seeded = ask(model, [SPAIN, SPAIN], seed=11, **wild)
    assert seeded == ask(model, [SPAIN, SPAIN], seed=11, **wild)
    assert seeded[0] == seeded[1], "an answer does not depend on the rows beside it"
    assert len({ask(model, SPAIN, seed=seed, **wild)[0] for seed in range(5)}) > 1
    assert len({ask(model, SPAIN, **wild)[0] for _ in range(5)}) > 1


@pytest.mark.parametrize("seed", [-1, 0, 2**31, -(2**63), 2**63 - 1])
def test_any_long_is_a_seed(model: OnnxChat, seed: int) -> None:
    wild = {"temperature": 2.0, "max_tokens": 8, "seed": seed}
    assert ask(model, SPAIN, **wild) == ask(model, SPAIN, **wild)


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 0.0}, {"top_p": 1e-6}])
def test_top_k_and_top_p_narrow_the_choice(model: OnnxChat, narrow: dict[str, Any]) -> None:
    greedy = ask(model, PROMPTS)
    assert ask(model, PROMPTS, temperature=2.0, **narrow) == greedy


def test_top_k_may_exceed_the_vocabulary(model: OnnxChat) -> None:
    assert ask(model, SPAIN, temperature=0.1, top_k=10**9, max_tokens=2)


def test_nothing_from_a_stop_string_on_is_shown(model: OnnxChat) -> None:
    whole = ask(model, SPAIN)[0]
    for start in range(len(whole) - 4):
        stop = whole[start : start + 4]
        expected = whole[: whole.find(stop)]
        assert ask(model, SPAIN, stop=[stop]) == [expected]
        assert "".join(stream(model, SPAIN, stop=[stop])) == expected


def test_a_stop_string_that_never_comes_takes_nothing(model: OnnxChat) -> None:
    whole = ask(model, SPAIN)[0]
    assert ask(model, SPAIN, stop=[whole + "!", "Madrid!"]) == [whole]


def test_auto_wraps_a_bare_prompt_and_leaves_a_marked_one(
    model: OnnxChat, demo_model: Path
) -> None:
    assert ask(model, SPAIN) == ask(model, as_chat(SPAIN))
    assert ask(model, as_chat(SPAIN)) == ask(load(demo_model, prompt_format="raw"), as_chat(SPAIN))
    assert ask(model, SPAIN) == ask(load(demo_model, prompt_format="chat"), SPAIN)


def test_raw_and_chat_take_every_prompt_the_same_way(demo_model: Path) -> None:
    raw, chat = (load(demo_model, prompt_format=name) for name in ("raw", "chat"))
    assert ask(raw, SPAIN) == [argmax_text(demo_model, SPAIN, 48)]
    assert ask(chat, as_chat(SPAIN)) == [argmax_text(demo_model, as_chat(as_chat(SPAIN)), 48)]


def test_without_a_chat_template_prompts_are_raw(demo_model: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(demo_model, tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    assert ask(load(bare), SPAIN) == [argmax_text(demo_model, SPAIN, 48)]
    with pytest.raises(MlflowException, match="the model has no chat template"):
        load(bare, prompt_format="chat")


def test_an_empty_prompt_is_answered(demo_model: Path) -> None:
    assert len(ask(load(demo_model, prompt_format="raw"), "", max_tokens=4)) == 1
    assert len(ask(load(demo_model), "", max_tokens=4)) == 1


def test_model_config_holds_the_defaults_and_params_win(demo_model: Path) -> None:
    model = load(demo_model, max_tokens=2, temperature=0.0, stop=None, seed=None)
    short = model.predict(None, [SPAIN])
    assert short == ask(model, SPAIN, max_tokens=2)
    assert model.predict(None, [SPAIN], {"max_tokens": None, "stop": []}) == short
    assert len(ask(model, SPAIN)[0]) > len(short[0])


def test_the_folder_s_own_search_settings_have_no_say(demo_model: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(demo_model, tmp_path / "changed"))
    config = json.loads((changed / "genai_config.json").read_text())
    config["search"] |= {"repetition_penalty": 5.0, "min_length": 200, "no_repeat_ngram_size": 1}
    (changed / "genai_config.json").write_text(json.dumps(config))
    assert ask(load(changed), PROMPTS) == ask(load(demo_model), PROMPTS)


def test_a_repetition_penalty_changes_the_answer(model: OnnxChat, demo_model: Path) -> None:
    assert ask(load(demo_model, repetition_penalty=3.0), PROMPTS) != ask(model, PROMPTS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"prompt_format": "xml"}, r"prompt_format is 'xml', not auto, chat, raw"),
        ({"temperature": "hot"}, r"temperature is 'hot'"),
        ({"max_length": 300}, r"no such setting: max_length"),
    ],
)
def test_a_bad_model_config_is_refused_when_the_model_is_loaded(
    demo_model: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(MlflowException, match=message):
        load(demo_model, **config)


def test_a_model_that_does_not_open_is_refused(demo_model: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(demo_model, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(MlflowException, match="onnxruntime-genai cannot open the model"):
        load(broken)


ALONE = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("alone", "pyfunc.py")
module = importlib.util.module_from_spec(spec)
sys.modules["alone"] = module
os.environ.pop("ORT_DISABLE_TELEMETRY", None)
spec.loader.exec_module(module)
from mlflow.pyfunc.model import PythonModelContext
model = module.OnnxChat()
model.load_context(PythonModelContext({"onnx": sys.argv[1]}, None))
print(model.predict(None, ["What is the capital of Spain?"], {"temperature": 0.0})[0])
print(os.environ["ORT_DISABLE_TELEMETRY"], "build" in sys.modules, "torch" in sys.modules)
"""


def test_the_file_works_alone_and_writes_nothing_at_home(demo_model: Path, tmp_path: Path) -> None:
    home, place = tmp_path / "home", tmp_path / "place"
    home.mkdir()
    place.mkdir()
    shutil.copy(pyfunc.__file__, place / "pyfunc.py")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(demo_model)],
        cwd=place,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    answer, facts = done.stdout.splitlines()
    assert "Madrid" in answer
    assert facts == "1 False False"
    assert list(home.rglob("*")) == []
