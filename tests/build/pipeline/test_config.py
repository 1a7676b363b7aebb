"""config.json of models of several families."""

import json

import pytest

from build.pipeline import config

PHI = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 2048,
    "vocab_size": 3072,
    "eos_token_id": [4, 0],
    "tie_word_embeddings": False,
}


@pytest.fixture
def read(tmp_path, findings):
    def go(data, architecture=""):
        text = data if isinstance(data, str) else json.dumps(data)
        (tmp_path / "config.json").write_text(text)
        return config.read(tmp_path, architecture, findings)

    return go


def without(*names, **values):
    return {key: value for key, value in {**PHI, **values}.items() if key not in names}


def test_a_phi(read, findings):
    found = read(PHI)
    assert findings.problems == []
    assert (found.model_type, found.architecture) == ("phi3", "Phi3ForCausalLM")
    assert (found.context_length, found.layers, found.kv_heads, found.head_size) == (2048, 3, 2, 64)
    assert found.eos_ids == (4, 0)
    assert found.kv_elements_per_token == 2 * 3 * 2 * 64
    assert not found.is_tied


def test_a_gpt2_in_its_own_words(read, findings):
    found = read(
        {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "n_embd": 64,
            "n_head": 4,
            "n_layer": 2,
            "n_positions": 128,
            "vocab_size": 100,
            "eos_token_id": 7,
        }
    )
    assert findings.problems == []
    assert (found.context_length, found.layers, found.kv_heads, found.head_size) == (128, 2, 4, 16)
    assert found.eos_ids == (7,)
    assert found.is_tied


def test_numbers_in_a_text_section(read, findings):
    text = {"num_hidden_layers": 5, "head_dim": 32, "max_position_embeddings": 99, "vocab_size": 9}
    text |= {"num_attention_heads": 2}
    found = read({"architectures": ["XForCausalLM"], "model_type": "x", "text_config": text})
    assert findings.problems == []
    assert (found.layers, found.head_size, found.context_length) == (5, 32, 99)


def test_one_key_for_all_heads(read):
    assert read(without("num_key_value_heads", multi_query=True)).kv_heads == 1


def test_the_class_that_mlflow_noted_where_the_file_names_none(read, findings):
    assert read(without("architectures"), "Phi3ForCausalLM").architecture == "Phi3ForCausalLM"
    assert findings.problems == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"is_encoder_decoder": True, "model_type": "t5"}, "(t5) is an encoder-decoder"),
        ({"architectures": ["BertModel"]}, "the architecture is 'BertModel', expected a text"),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, "expected a text decoder"),
        ({"architectures": []}, "the architecture is None"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized (gptq), which needs"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantized (of no known kind)"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is absent, expected a whole number above 0"),
        ({"vocab_size": "many"}, "vocab_size is absent"),
        ({"max_position_embeddings": None}, "max_position_embeddings is absent"),
    ],
)
def test_what_is_refused(read, findings, changes, told):
    read(without(**changes))
    (problem,) = findings.problems
    assert told in problem


@pytest.mark.parametrize("text", ["{", "[1]", "nul", "[" * 100_000])
def test_a_file_that_is_no_object(read, findings, text):
    assert read(text) is None
    assert findings.problems[0].startswith("config.json is not ")


def test_the_files_of_a_models_own_code(read):
    found = read(
        without(
            auto_map={
                "AutoConfig": "configuration_x.XConfig",
                "AutoModelForCausalLM": "acme/other--modeling_x.XForCausalLM",
                "AutoTokenizer": [None, "tokenization_x.XTokenizer"],
            }
        )
    )
    names = ("configuration_x.py", "modeling_x.py", "tokenization_x.py")
    assert found.code_files == names
