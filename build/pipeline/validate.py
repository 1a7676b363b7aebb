"""Everything that must hold before a pipeline is sealed, checked in one go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from build import mlmodel, template
from build import signature as build_signature
from build.errors import InvalidModel
from build.findings import Findings
from build.mlmodel import MlModel
from build.options import Options
from build.pipeline import (
    config,
    flavor,
    layout,
    places,
    prepare,
    settings,
    signature,
    tokenizer,
    trial,
)
from build.pipeline.config import GENERATION_CONFIG, Config
from build.pipeline.flavor import Flavor
from build.pipeline.places import Places
from build.pipeline.weights import Weights
from build.source import Source
from edge.bundle import Defaults, Signature


@dataclass(frozen=True, slots=True)
class Model:
    """A pipeline that can be sealed: `origins` are its files by their names in the bundle."""

    origins: Mapping[str, Path]
    config: Config
    weights: Weights
    signature: Signature
    generation: Defaults
    chat_template: str
    context_length: int
    eos_ids: tuple[int, ...]
    mlmodel: MlModel | None
    remote_code: bool = False

    flavor: ClassVar[Literal["pipeline"]] = "pipeline"
    adapters: ClassVar[Mapping[str, Path]] = {}
    runtimes: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    @property
    def files(self) -> tuple[str, ...]:
        """Names in the bundle, sorted."""
        return tuple(sorted(self.origins))

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory that a token of context takes, in the type of the weights."""
        wide = {"F32": 4}.get(self.weights.dtype, 2)
        return self.config.kv_elements_per_token * wide

    @property
    def quantization(self) -> str:
        """Precision of the weights: `fp32`, `fp16`, `bf16`."""
        return self.weights.precision

    @property
    def model_type(self) -> str:
        """The architecture's name."""
        return self.config.model_type

    def origin(self, name: str) -> Path:
        """Where the file `name` lies now."""
        return self.origins[name]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is known without the weights."""

    flavor: Flavor
    places: Places
    config: Config
    signature: Signature
    generation: Defaults
    chat_template: str
    code: Mapping[str, Path]
    mlmodel: MlModel | None


def validate(source: Source, options: Options, findings: Findings, work: Path) -> Model:
    """Check the model in `source` as `options` want it served; `work` takes what must be made.

    What is found and supplied goes to `findings`. Raises `InvalidModel` with every problem, as
    far as the later checks can be made without the earlier ones.
    """
    parts = _read(source, options, findings)
    base = prepare.read(parts.places, source, options, work, findings)
    origins = layout.gather(parts.places, parts.code)
    layout.check(parts.places, origins, findings)
    context_length = _context_length(parts.config, options, findings)
    eos_ids = _eos_ids(parts, findings)
    if base is None:
        raise InvalidModel(findings.problems)
    whole = prepare.merged(base, parts.places, work, findings)
    origins |= {name: whole.folder / name for name in whole.files}
    if options.trial and not findings.problems:
        _try(origins, parts, work, findings)
    if findings.problems:
        raise InvalidModel(findings.problems)
    signed = build_signature.complete(
        parts.signature, parts.generation, options.generation, findings
    )
    model = Model(
        origins,
        parts.config,
        whole,
        signed,
        parts.generation,
        parts.chat_template,
        context_length,
        eos_ids,
        parts.mlmodel,
        bool(parts.code),
    )
    _note(model, parts.flavor, findings)
    return model


def _read(source: Source, options: Options, findings: Findings) -> _Parts:
    """Everything but the weights; raises `InvalidModel` where the rest hangs on what is absent."""
    described = mlmodel.read(source.folder)
    said = flavor.read(described, findings)
    findings.problems += _refusals(options, said)
    signed, params = signature.read(described, said, findings)
    try:
        found = places.find(source, said, options)
    except InvalidModel as error:
        raise InvalidModel([*findings.problems, *error.problems]) from error
    places.note(said, findings)
    settled = config.read(found.weights, said.architecture, findings)
    chat_template = template.read(found.tokenizer, findings)
    tokenizer.check(found.tokenizer, findings)
    if settled is None:
        raise InvalidModel(findings.problems)
    told = described.config if described else {}
    generation = settings.gather(
        options, params, told, _generation_config(found.weights, findings), findings
    )
    _check_wrapping(signed, generation, chat_template, findings)
    signed = signature.with_reply(signed, described is not None, told, params)
    code = layout.code(found, settled, options, findings)
    return _Parts(said, found, settled, signed, generation, chat_template, code, described)


def _refusals(options: Options, said: Flavor) -> Iterator[str]:
    """Flags that mean nothing here, and MLflow's prompt template, which the appliance has not."""
    if options.adapters:
        yield (
            "--adapter serves LoRA adapters beside an ONNX graph; a model of the transformers "
            "flavor is served with the adapter that it was logged with, which is merged"
        )
    if options.artifact:
        yield "--artifact picks an ONNX model, and a model of the transformers flavor has none"
    if said.prompt_template and options.prompt_format is None:
        yield (
            f"the model was logged with the prompt_template {said.prompt_template!r}, which the "
            "appliance does not apply; log it as llm/v1/chat, whose chat template does the same, "
            "or say --prompt-format raw or chat to serve it without"
        )


def _generation_config(folder: Path, findings: Findings) -> Mapping[str, Any]:
    path = folder / GENERATION_CONFIG
    return (config.load(path, findings) or {}) if path.is_file() else {}


def _check_wrapping(
    signed: Signature, generation: Defaults, chat_template: str, findings: Findings
) -> None:
    """A chat needs a template; a bare prompt can do without, which is noted."""
    if chat_template:
        return
    if signed.kind == "chat" or generation.prompt_format == "chat":
        findings.problems.append("the model has no chat template, which chats need")
    else:
        findings.shims.append("the model has no chat template: prompts are taken as they are")


def _context_length(found: Config, options: Options, findings: Findings) -> int:
    wanted = options.context_length or found.context_length
    if found.context_length and wanted > found.context_length:
        findings.problems.append(
            f"--context-length is {wanted}, expected at most the model's {found.context_length}"
        )
    return wanted


def _eos_ids(parts: _Parts, findings: Findings) -> tuple[int, ...]:
    """Of generation_config.json, else config.json, else the tokenizer, as transformers looks."""
    said = _generation_config(parts.places.weights, Findings()).get("eos_token_id")
    found = config.ids(said) or parts.config.eos_ids or tokenizer.eos_ids(parts.places.tokenizer)
    size = parts.config.vocab_size
    if not found:
        findings.problems.append(
            f"neither {GENERATION_CONFIG} nor config.json has an eos_token_id, and the tokenizer "
            "has no eos_token; no answer would end"
        )
    outside = [token for token in found if size and not 0 <= token < size]
    if outside:
        findings.problems.append(
            f"eos_token_id {outside} lies outside the vocabulary of {size} tokens"
        )
    return found


def _try(origins: Mapping[str, Path], parts: _Parts, work: Path, findings: Findings) -> None:
    missing = trial.missing()
    if missing:
        findings.shims.append(
            f"the trial was left out: {' and '.join(missing)} are not installed here "
            "(scripts/install demo)"
        )
        return
    flat = work / "trial"
    flat.mkdir(parents=True)
    for name, path in origins.items():
        (flat / name).symlink_to(path.resolve())
    findings.problems += trial.attempt(flat, parts.chat_template, remote_code=bool(parts.code))


def _note(model: Model, said: Flavor, findings: Findings) -> None:
    size = sum(path.stat().st_size for path in model.origins.values())
    findings.facts.update(
        {
            "flavor": "pipeline (transformers and torch)",
            "architecture": f"{model.model_type} ({model.config.architecture})",
            "weights": f"{model.quantization}, {model.weights.parameters:,} parameters",
            "files": f"{len(model.origins)} files, {size:,} bytes",
            "context": f"{model.context_length:,} tokens",
            "KV cache": f"{model.kv_bytes_per_token:,} bytes a token",
            "signature": _described(model.signature, said),
            "chat template": f"{len(model.chat_template):,} characters",
            "ends on": ", ".join(map(str, model.eos_ids)),
        }
    )


def _described(signed: Signature, said: Flavor) -> str:
    column = signed.inputs[0].name if signed.inputs else ""
    kind = f"{column or 'unnamed'}: string -> string" if signed.kind == "prompt" else said.task
    return f"{kind}; parameters: {', '.join(param.name for param in signed.params) or 'none'}"
