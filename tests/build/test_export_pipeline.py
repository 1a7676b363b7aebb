"""`python -m build export` of models logged with MLflow's transformers flavor, in every way."""

import copy
import os
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from build.bundle import open_
from tests.build.pipeline import conftest as tensors
from tests.build.pipeline.test_hub import REVISION, cache
from tests.build.pipeline_logging import (
    SPAIN,
    demo_pipeline,
    demo_weights,
    folder_of,
    log,
    logged_pipeline,
)

__all__ = ["demo_pipeline", "demo_weights", "logged_pipeline"]
pytestmark = pytest.mark.torch
QUICK = ("--skip-trial", "--json")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("ways")


@pytest.fixture
def logging(store, demo_weights, demo_pipeline):
    """`logging(**changes)` logs the demo model and returns the logged model's folder."""

    def go(pipeline=None, **changes):
        info = log(store, demo_weights, pipeline or demo_pipeline, **changes)
        return folder_of(store, info.model_id)

    return go


@pytest.fixture
def export(cli, tmp_path):
    """`export(uri, *flags)` is the bundle's folder and the verdict; it must be good."""

    def go(uri, *flags, out="out"):
        done = cli("export", uri, "--out", tmp_path / out, *QUICK, *flags)
        assert done.status == 0, done.out
        return tmp_path / out, done.json

    return go


@pytest.fixture
def refused(cli, tmp_path):
    """`refused(uri, *flags)` is the problems, one text."""

    def go(uri, *flags):
        done = cli("export", uri, "--out", tmp_path / "out", *QUICK, *flags)
        assert done.status == 1, done.out
        assert not (tmp_path / "out").exists()
        return "\n".join(done.json["problems"])

    return go


def held(folder):
    """All tensors in the bundle `folder`."""
    shards = sorted((folder / "model").glob("*.safetensors"))
    return {name: value for path in shards for name, value in tensors.read_tensors(path).items()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.fixture(scope="module")
def source(demo_weights):
    return tensors.read_tensors(demo_weights / "model.safetensors")


def test_a_registered_chat_model_and_its_trial(cli, logged_pipeline, demo_weights, tmp_path):
    uri, flags = logged_pipeline.model_uri, ("--tracking-uri", logged_pipeline.uri)
    done = cli("export", uri, "--out", tmp_path / "out", *flags)
    assert done.status == 0, done.out
    manifest = open_(tmp_path / "out", whole=True).manifest
    assert (manifest.name, manifest.flavor) == ("phi3-chat", "pipeline")
    assert (manifest.model_type, manifest.quantization) == ("phi3", "fp16")
    assert manifest.signature.kind == "chat"
    assert manifest.signature.inputs[0].name == "messages"
    assert (manifest.context_length, manifest.eos_ids) == (2048, (4, 0))
    assert manifest.kv_bytes_per_token == 2 * 4 * 4 * 64 * 2
    assert manifest.chat_template == (demo_weights / "chat_template.jinja").read_text()
    assert (manifest.generation.max_tokens, manifest.generation.temperature) == (40, 0.0)
    assert manifest.lineage.model_id == logged_pipeline.model_id
    assert (manifest.lineage.alias, manifest.lineage.model_version) == ("champion", "1")
    logged_with = {k: v for k, v in manifest.libraries.items() if k.startswith("logged-with:")}
    assert logged_with == {
        "logged-with:mlflow": mlflow.__version__,
        "logged-with:torch": "2.13.0",
        "logged-with:transformers": "5.20.2",
    }
    assert not manifest.remote_code
    for shown in ("pipeline (transformers and torch)", "llm/v1/chat", "4,196,608 parameters"):
        assert shown in done.out
    assert "verdict: good" in done.out
    names = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    assert names == {
        *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json"),
        *("tokenizer_config.json", "chat_template.jinja", "model_card.md", "model_card_data.yaml"),
    }
    assert b"remote_code" not in (tmp_path / "out" / "manifest.json").read_bytes()


def test_the_bundle_answers_as_mlflows_own_model(export, logged_pipeline, source):
    import transformers

    folder, _ = export(logged_pipeline.folder)
    assert same(held(folder), source)
    again = transformers.pipeline("text-generation", model=str(folder / "model"), dtype="auto")
    chat = [{"role": "user", "content": SPAIN}]
    said = again(chat, max_new_tokens=40, do_sample=False, return_full_text=False)
    model = mlflow.pyfunc.load_model(str(logged_pipeline.folder))
    (reply,) = model.predict({"messages": chat})
    assert reply["choices"][0]["message"]["content"] == said[0]["generated_text"]
    assert "Madrid" in said[0]["generated_text"]


def test_the_same_model_gives_the_same_bytes(export, logged_pipeline):
    digests = {
        export(logged_pipeline.folder, out=name)[1]["manifest_sha256"] for name in ("one", "two")
    }
    assert len(digests) == 1


def test_inspect_tells_the_same_and_writes_nothing(cli, logged_pipeline, tmp_path):
    done = cli("inspect", logged_pipeline.folder, *QUICK)
    assert done.json["facts"]["signature"] == "llm/v1/chat; parameters: none"
    assert list(tmp_path.iterdir()) == []


def test_verify_finds_the_bundle_as_sealed(cli, export, logged_pipeline):
    folder, _ = export(logged_pipeline.folder)
    assert cli("verify", folder).status == 0
    path = folder / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert "model.safetensors" in cli("verify", folder).err


def test_completions(export, logging, source):
    folder, _ = export(logging(task="llm/v1/completions", name="completions"))
    assert same(held(folder), source)
    signature = open_(folder).manifest.signature
    assert signature.kind == "completions"
    assert [column.name for column in signature.inputs][:3] == [
        "prompt",
        "temperature",
        "max_tokens",
    ]


@pytest.mark.parametrize(
    ("config", "reply"), [({}, "full"), ({"return_full_text": False}, "stripped")]
)
def test_text_generation(export, logging, config, reply):
    folder, verdict = export(logging(task="text-generation", name="text", model_config=config))
    manifest = open_(folder).manifest
    assert (manifest.signature.kind, manifest.signature.reply) == ("prompt", reply)
    assert manifest.signature.inputs[0].name == ""
    assert manifest.generation.temperature == 0.7
    assert verdict["facts"]["max_tokens"] == "256 (text-generation pipeline)"


def test_by_path(export, logging, demo_weights, source):
    folder, _ = export(logging(str(demo_weights), name="path"))
    assert same(held(folder), source)
    assert open_(folder).manifest.signature.kind == "chat"


def test_as_components(export, logging, demo_pipeline, source):
    parts = {"model": demo_pipeline.model, "tokenizer": demo_pipeline.tokenizer}
    assert same(held(export(logging(parts, name="parts"))[0]), source)


@pytest.mark.parametrize(("dtype", "name"), [(torch.float32, "fp32"), (torch.bfloat16, "bf16")])
def test_other_precisions(export, logging, demo_pipeline, dtype, name):
    parts = {"model": copy.deepcopy(demo_pipeline.model).to(dtype)}
    parts["tokenizer"] = demo_pipeline.tokenizer
    folder, _ = export(logging(parts, name=name))
    manifest = open_(folder).manifest
    assert manifest.quantization == name
    assert manifest.kv_bytes_per_token == 2048 * (4 if name == "fp32" else 2)
    for key, value in parts["model"].state_dict().items():
        assert held(folder)[key].tobytes() == value.contiguous().view(torch.uint8).numpy().tobytes()


def test_in_shards(export, logging, source, monkeypatch):
    monkeypatch.setenv("MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE", "2MB")
    folder, _ = export(logging(name="shards"))
    names = {path.name for path in (folder / "model").iterdir()}
    assert "model.safetensors.index.json" in names
    assert len([name for name in names if name.endswith(".safetensors")]) > 2
    assert same(held(folder), source)


@pytest.fixture
def referring(demo_pipeline, demo_weights, tmp_path, monkeypatch):
    """Parts of a pipeline that comes from acme/tiny, and a cache that has its files."""
    import huggingface_hub
    from mlflow.transformers import flavor_config

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(flavor_config, "get_latest_commit_for_repo", lambda name: REVISION)
    model, tokenizer = copy.copy(demo_pipeline.model), copy.copy(demo_pipeline.tokenizer)
    model.name_or_path = tokenizer.name_or_path = "acme/tiny"
    cache(demo_weights, tmp_path / "hub")
    return {"model": model, "tokenizer": tokenizer}


def test_by_reference(export, refused, logging, referring, source, tmp_path):
    logged = logging(referring, name="reference", save_pretrained=False)
    assert not (logged / "model").exists()
    folder, verdict = export(logged)
    assert same(held(folder), source)
    assert "the weights were taken from acme/tiny at 0123456789ab, of the hub" in verdict["shims"]
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "hub")
    told = refused(logged)
    assert "it only names acme/tiny at 0123456789ab" in told
    assert "mlflow.transformers.persist_pretrained_model(URI)" in told


@pytest.fixture
def adapted(demo_pipeline):
    """The demo model with a LoRA of random weights, and what peft makes of the two."""
    torch.manual_seed(5)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["qkv_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(copy.deepcopy(demo_pipeline.model), config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name:
                value.copy_(torch.randn_like(value) * 0.05)
    return {"model": model, "tokenizer": demo_pipeline.tokenizer}


@pytest.mark.parametrize("base", ["saved", "elsewhere"])
def test_an_adapter_is_merged(export, logging, adapted, demo_weights, demo_pipeline, source, base):
    elsewhere = {"base_model_path": str(demo_weights)} if base == "elsewhere" else {}
    logged = logging(adapted, name=base, **elsewhere)
    assert (logged / "peft" / "adapter_model.safetensors").is_file()
    assert (logged / "model").exists() == (base == "saved")
    folder, verdict = export(logged)
    assert "the LoRA adapter was merged into 4 tensors" in verdict["shims"]
    peft = PeftModel.from_pretrained(copy.deepcopy(demo_pipeline.model), logged / "peft")
    wanted = peft.merge_and_unload().state_dict()
    found = held(folder)
    changed = {name for name in found if not np.array_equal(found[name], source[name])}
    assert {name.rsplit(".", 2)[1] for name in changed} == {"qkv_proj"}
    for name in found:
        close = np.isclose(found[name], wanted[name].numpy(), rtol=2e-3, atol=1e-6)
        assert close.all(), name


def test_a_bare_folder(export, demo_weights, source):
    folder, verdict = export(demo_weights)
    manifest = open_(folder).manifest
    assert same(held(folder), source)
    assert (manifest.signature.kind, manifest.signature.reply) == ("prompt", "new")
    assert any("the model has no signature" in shim for shim in verdict["shims"])


def test_flags_reach_the_manifest(export, logged_pipeline):
    flags = ("--name", "box", "--context-length", 512, "--temperature", 0.4, "--stop", "END")
    manifest = open_(
        export(logged_pipeline.folder, *flags, "--system-prompt", "Be kind.")[0]
    ).manifest
    assert (manifest.name, manifest.context_length) == ("box", 512)
    assert (manifest.generation.temperature, manifest.generation.stop) == (0.4, ("END",))
    assert manifest.system_prompts == ("Be kind.",)


def test_flags_of_the_other_flavor_are_refused(refused, logged_pipeline, tmp_path):
    (tmp_path / "x").write_bytes(b"")
    told = refused(logged_pipeline.folder, "--adapter", f"a={tmp_path / 'x'}", "--artifact", "onnx")
    assert "--adapter serves LoRA adapters beside an ONNX graph" in told
    assert "--artifact picks an ONNX model" in told


def test_a_prompt_template_is_not_applied_in_silence(refused, export, logging):
    template = {"prompt_template": "Answer this: {prompt}"}
    logged = logging(task="text-generation", name="template", **template)
    told = refused(logged)
    assert "prompt_template 'Answer this: {prompt}', which the appliance does not apply" in told
    assert (
        open_(export(logged, "--prompt-format", "raw")[0]).manifest.generation.prompt_format
        == "raw"
    )


def pickle_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    found = {name: torch.from_numpy(np.array(v)) for name, v in tensors.read_tensors(path).items()}
    torch.save(found, folder / "pytorch_model.bin")
    path.unlink()


def test_pickled_weights(refused, export, logging, source):
    logged = logging(name="pickled")
    pickle_weights(logged / "model")
    told = refused(logged)
    assert "the weights are pickled (pytorch_model.bin)" in told
    assert "--allow-pickle" in told
    folder, verdict = export(logged, "--allow-pickle")
    assert same(held(folder), source)
    assert not list(folder.rglob("*.bin"))
    assert "the pickled weights were read as tensors and made safetensors" in verdict["shims"]


def test_pickles_beside_good_weights_stay_behind(export, logging):
    logged = logging(name="args")
    (logged / "model" / "training_args.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    folder, verdict = export(logged)
    assert not list(folder.rglob("*.bin"))
    assert "training_args.bin may hold pickles: left out, not opened" in verdict["shims"]


def test_code_of_its_own(cli, refused, export, hf_folder, change, tmp_path):
    change(hf_folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_x.X"})
    marker = tmp_path / "marker"
    (hf_folder / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w')\n")
    assert "--allow-remote-code" in refused(hf_folder)
    folder, _ = export(hf_folder, "--allow-remote-code")
    assert open_(folder).manifest.remote_code
    assert (folder / "model" / "modeling_x.py").is_file()
    assert not marker.exists()


@pytest.fixture
def hf_folder(demo_weights, tmp_path):
    return Path(shutil.copytree(demo_weights, tmp_path / "hf"))


change = tensors.change


def test_all_problems_in_one_verdict(cli, refused, hf_folder, change):
    change(hf_folder / "config.json", is_encoder_decoder=True, auto_map={"AutoModel": "m.X"})
    change(hf_folder / "generation_config.json", eos_token_id=99_999, temperature="hot")
    (hf_folder / "tokenizer.json").rename(hf_folder / "tokenizer.model")
    (hf_folder / "NOTICE").symlink_to("/etc/hostname")
    path = hf_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    told = refused(hf_folder, "--context-length", 10**6, "--artifact", "x")
    for part in (
        "--artifact picks an ONNX model",
        "is an encoder-decoder",
        "generation_config.json: temperature is 'hot'",
        "the tokenizer is a slow one",
        "Python code of its own (m.py)",
        "NOTICE is a link that leaves",
        "eos_token_id [99999] lies outside the vocabulary",
        "--context-length is 1000000, expected at most",
        "model.safetensors was cut short",
    ):
        assert part in told


def test_no_template_no_end(refused, export, hf_folder, change):
    (hf_folder / "chat_template.jinja").unlink()
    change(hf_folder / "config.json", eos_token_id=None)
    change(hf_folder / "generation_config.json", eos_token_id=None)
    change(hf_folder / "tokenizer_config.json", eos_token=None)
    told = refused(hf_folder, "--prompt-format", "chat")
    assert "the model has no chat template, which chats need" in told
    assert "no answer would end" in told


def test_the_trial_has_the_last_word(cli, hf_folder, change, tmp_path):
    """Headers alone cannot tell that the model wants more weights than there are."""
    change(hf_folder / "config.json", num_hidden_layers=5)
    done = cli("export", hf_folder, "--out", tmp_path / "out", "--json")
    assert done.status == 1
    (problem,) = done.json["problems"]
    assert problem.startswith("weights are missing: model.layers.4.")


def test_the_trial_is_left_out_where_torch_is_missing(cli, logged_pipeline, tmp_path, monkeypatch):
    from build.pipeline import trial

    monkeypatch.setattr(trial, "find_spec", lambda name: None)
    done = cli("export", logged_pipeline.folder, "--out", tmp_path / "out", "--json")
    assert done.status == 0
    assert (
        "the trial was left out: torch and transformers are not installed" in done.json["shims"][-1]
    )


def test_over_http_nothing_that_is_not_needed_is_fetched(
    cli, http_store, logged_pipeline, source, tmp_path
):
    """A model in the server's store with a pickle and code beside its weights."""
    folder = Path(shutil.copytree(logged_pipeline.folder, tmp_path / "copy"))
    (folder / "model" / "training_args.bin").write_bytes(b"pickle")
    (folder / "model" / "model.py").write_text("never")
    client = mlflow.MlflowClient(http_store.uri, http_store.uri)
    run = client.create_run(http_store.experiment_id)
    client.log_artifacts(run.info.run_id, str(folder), "chat")
    uri = f"runs:/{run.info.run_id}/chat"
    flags = ("--tracking-uri", http_store.uri, *QUICK)
    done = cli("export", uri, "--out", tmp_path / "out", *flags)
    assert done.status == 0, done.out
    assert same(held(tmp_path / "out"), source)
    assert "training_args.bin may hold pickles: left out, not opened" in done.json["shims"]
    assert open_(tmp_path / "out", whole=True).manifest.flavor == "pipeline"
    assert not {path.suffix for path in (tmp_path / "out").rglob("*")} & {".bin", ".py"}


def test_nothing_is_written_elsewhere(export, logged_pipeline, tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    before = sorted(logged_pipeline.folder.rglob("*"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    export(logged_pipeline.folder)
    assert os.listdir(home) == os.listdir(here) == []
    assert sorted(logged_pipeline.folder.rglob("*")) == before
