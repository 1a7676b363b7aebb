"""Everything that must hold before a model is sealed, checked in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from build import (
    adapters,
    artifacts,
    contents,
    decoder,
    defaults,
    genai_config,
    legacy,
    mlmodel,
    signature,
    template,
    trial,
)
from build.decoder import Decoder
from build.errors import InvalidModel
from build.findings import Findings
from build.genai_config import GenaiConfig
from build.mlmodel import MlModel
from build.options import Options
from build.source import Source
from edge.bundle import Defaults, Signature


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be sealed: where its files are and what its manifest will say.

    `files` are relative to `folder`, the ONNX model's own; `adapters` are LoRA files by name.
    """

    folder: Path
    files: tuple[str, ...]
    config: GenaiConfig
    decoder: Decoder
    signature: Signature
    generation: Defaults
    chat_template: str
    context_length: int
    mlmodel: MlModel | None
    adapters: Mapping[str, Path]

    flavor: ClassVar[Literal["onnx"]] = "onnx"
    remote_code: ClassVar[bool] = False
    runtimes: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnxruntime-genai")

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        return self.config.eos_ids

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory that a token of context takes."""
        return self.decoder.kv_bytes_per_token

    @property
    def quantization(self) -> str:
        """Precision of the weights."""
        return self.decoder.quantization

    @property
    def model_type(self) -> str:
        """The architecture's name."""
        return self.config.model_type

    def origin(self, name: str) -> Path:
        """Where the file `name` lies now."""
        return self.folder / name


def validate(source: Source, options: Options, findings: Findings) -> Model:
    """Check the model in `source` as `options` want it served.

    What is found and supplied goes to `findings`. Raises `InvalidModel` with every problem, as
    far as the later checks can be made without the earlier ones.
    """
    described = mlmodel.read(source.folder)
    signed = signature.read(described, findings)
    try:
        folder = artifacts.find(source.folder, described, options.artifact)
    except InvalidModel as error:
        raise InvalidModel([*findings.problems, *error.problems]) from error
    config = genai_config.read(folder, findings)
    chat_template = template.read(folder, findings)
    if described is not None:
        legacy.review(source.folder, described, options, template.special_tokens(folder), findings)
    if config is None:
        contents.check(folder, (), findings)
        raise InvalidModel(findings.problems)
    chosen = adapters.gather(options, source, folder / config.decoder, findings)
    return _whole(folder, config, chat_template, signed, described, chosen, options, findings)


def _whole(
    folder: Path,
    config: GenaiConfig,
    chat_template: str,
    signed: Signature,
    described: MlModel | None,
    chosen: Mapping[str, Path],
    options: Options,
    findings: Findings,
) -> Model:
    graph = decoder.read(folder, config, findings)
    files = contents.select(folder, config, graph, chosen.values())
    contents.check(folder, files, findings)
    said: Mapping[str, object] = described.config if described else {}
    generation = defaults.gather(options, signed, said, config, findings)
    context_length = _context_length(config, options, findings)
    _check_wrapping(signed, generation, chat_template, findings)
    if options.trial:
        sound = not findings.problems
        findings.problems += trial.attempt(folder, chat_template, whole=sound, adapters=chosen)
    if findings.problems or graph is None:
        raise InvalidModel(findings.problems)
    completed = signature.complete(signed, generation, options.generation, findings)
    model = Model(
        folder,
        files,
        config,
        graph,
        completed,
        generation,
        chat_template,
        context_length,
        described,
        chosen,
    )
    _note(model, findings)
    return model


def _context_length(config: GenaiConfig, options: Options, findings: Findings) -> int:
    wanted = options.context_length or config.context_length
    if wanted > config.context_length:
        findings.problems.append(
            f"--context-length is {wanted}, expected at most the model's {config.context_length}"
        )
    return wanted


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


def _note(model: Model, findings: Findings) -> None:
    size = sum((model.folder / name).stat().st_size for name in model.files)
    findings.facts.update(
        {
            "architecture": model.config.model_type,
            "weights": f"{model.decoder.quantization}, {model.decoder.parameters:,} parameters",
            "files": f"{len(model.files)} files, {size:,} bytes",
            "context": f"{model.context_length:,} tokens",
            "KV cache": f"{model.decoder.kv_bytes_per_token:,} bytes a token",
            "signature": _describe(model.signature),
            **({"adapters": ", ".join(model.adapters)} if model.adapters else {}),
            "chat template": f"{len(model.chat_template):,} characters",
            "ends on": ", ".join(map(str, model.config.eos_ids)),
            "made by": model.decoder.producer or "unknown",
        }
    )


def _describe(signed: Signature) -> str:
    kind = "llm/v1/chat" if signed.kind == "chat" else "prompt: string -> string"
    return f"{kind}; parameters: {', '.join(param.name for param in signed.params) or 'none'}"
