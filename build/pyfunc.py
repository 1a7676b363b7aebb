"""An onnxruntime-genai model folder as an MLflow pyfunc: `prompt: string -> string`.

MLflow copies this one file into the model ("models from code"), so it imports nothing of the
factory, and it answers as the appliance does: same prompt format, same stop rules, same greedy
tokens.
"""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the runtime is first imported

import onnxruntime_genai as og

ARTIFACT = "onnx"
CONFIG_NAME = "genai_config.json"
PROMPT_FORMATS = ("auto", "chat", "raw")
SEEDS: Final = 2**31  # the runtime takes a C int

# type, least and greatest value of each setting that is a number
_NUMBERS: Final[Mapping[str, tuple[type, float, float]]] = {
    "max_tokens": (int, 1, 2**31 - 1),
    "temperature": (float, 0, 2),
    "top_p": (float, 0, 1),
    "top_k": (int, 0, 2**31 - 1),
    "repetition_penalty": (float, 0.01, 10),
    "seed": (int, -(2**63), 2**63 - 1),
}

Ids: TypeAlias = npt.NDArray[np.int32]
Params: TypeAlias = dict[str, Any] | None
invalid = MlflowException.invalid_parameter_value


@dataclass(frozen=True, slots=True)
class Settings:
    """How a prompt is continued; the names are those of the signature's params.

    `temperature` 0 is greedy; `top_p` 1, `top_k` 0 and `repetition_penalty` 1 are off;
    `stop` strings end the answer and are no part of it; `seed` None samples anew every time.
    """

    max_tokens: int = 300
    temperature: float = 0.2
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def updated(self, values: Mapping[str, Any]) -> Settings:
        """These settings with `values` over them; None and `[]` leave a setting as it is.

        Raises `MlflowException` (INVALID_PARAMETER_VALUE) that names the setting, its value and
        what was expected.
        """
        known = ("stop", *_NUMBERS)
        if unknown := ", ".join(sorted(set(values) - set(known))):
            raise invalid(f"no such setting: {unknown}; there are {', '.join(known)}")
        given = {k: _checked(k, v) for k, v in values.items() if v is not None}
        return replace(self, **{k: v for k, v in given.items() if v != ()})


def _checked(name: str, value: Any) -> Any:
    """`value` as the Python type of the setting `name`; raises `MlflowException`."""
    if name == "stop":
        stops = [value] if isinstance(value, str) else value
        is_list = isinstance(stops, list | tuple | np.ndarray)
        if is_list and all(isinstance(text, str) and text for text in stops):
            return tuple(map(str, stops))
        raise invalid(f"stop is {value!r}, expected a list of strings that are not empty")
    kind, least, most = _NUMBERS[name]
    is_kind = isinstance(value, numbers.Integral if kind is int else numbers.Real)
    if is_kind and not isinstance(value, bool) and least <= value <= most:
        return kind(value)
    noun = "whole number" if kind is int else "number"
    raise invalid(f"{name} is {value!r}, expected a {noun} from {least} to {most}")


def prompts_of(model_input: Any) -> list[str]:
    """The prompts of a DataFrame, dict, Series, array, list or single string, row by row.

    Raises `MlflowException` where there is no `prompt` or a row is no text.
    """
    rows = _rows(model_input)
    for index, prompt in enumerate(rows):
        if not isinstance(prompt, str):
            raise invalid(f"prompt of row {index} is {_kind(prompt)}, expected a string")
        if "\0" in prompt or any("\ud800" <= char <= "\udfff" for char in prompt):
            raise invalid(f"prompt of row {index} holds a NUL or a lone surrogate")
    return rows


def _kind(prompt: Any) -> str:
    return "missing" if prompt is None else f"of type {type(prompt).__name__}"


def _rows(model_input: Any) -> list[Any]:
    """The single values of `model_input`; lists may be nested, as a dict's columns arrive."""
    if isinstance(model_input, pd.DataFrame | dict):
        if "prompt" not in model_input:
            names = ", ".join(map(str, model_input)) or "nothing"
            raise invalid(f"the input has no field `prompt`; it has {names}")
        return _rows(model_input["prompt"])
    if isinstance(model_input, pd.Series | np.ndarray | list | tuple):
        return [value for row in model_input for value in _rows(row)]
    return [model_input]


def until_stop(pieces: Iterable[str], stops: tuple[str, ...]) -> Iterator[str]:
    """`pieces` up to the first of `stops`; text that may begin a stop string waits."""
    held = ""
    for piece in pieces:
        held += piece
        found = [start for stop in stops if (start := held.find(stop)) >= 0]
        ready = min(found) if found else len(held) - _undecided(held, stops)
        if ready:
            yield held[:ready]
        if found:
            return
        held = held[ready:]
    if held:
        yield held


def _undecided(text: str, stops: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may be the beginning of a stop string."""
    lengths = (n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n]))
    return max(lengths, default=0)


def find_folder(artifacts: Mapping[str, str]) -> Path:
    """The model folder among a pyfunc's artifacts: `onnx`, or the one with a genai_config.json."""
    named = [artifacts[ARTIFACT]] if ARTIFACT in artifacts else []
    for path in [*named, *artifacts.values()]:
        if (Path(path) / CONFIG_NAME).is_file():
            return Path(path)
    keys = ", ".join(sorted(artifacts)) or "none"
    raise invalid(f"no artifact is a folder with a {CONFIG_NAME}; the artifacts are: {keys}")


def chat_template(folder: Path) -> str:
    """The Jinja chat template of a model folder; empty where it has none."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    template = _json(folder / "tokenizer_config.json").get("chat_template") or ""
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default", "")
    return str(template)


def special_tokens(folder: Path) -> frozenset[str]:
    """The texts of the special tokens of a model folder's tokenizer."""
    added = _json(folder / "tokenizer.json").get("added_tokens", [])
    return frozenset(token["content"] for token in added if token.get("special"))


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_bytes()) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


class OnnxChat(PythonModel):
    """A language model that onnxruntime-genai runs; one generator a prompt."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open model, tokenizer and settings of `context`.

        Raises `MlflowException` where the folder, the runtime or `model_config` do not fit.
        """
        folder = find_folder(context.artifacts)
        config = dict(context.model_config or {})
        self._prompt_format = config.pop("prompt_format", None) or "auto"
        self._settings = Settings().updated(config)
        self._template = chat_template(folder)
        self._special = special_tokens(folder)
        self._check_format()
        facts = _json(folder / CONFIG_NAME)["model"]
        self._eos = frozenset(np.atleast_1d(facts["eos_token_id"]).tolist())
        self._context_length = int(facts["context_length"])
        self._vocab_size = int(facts["vocab_size"])
        try:
            self._model = og.Model(str(folder))
            self._tokenizer = og.Tokenizer(self._model)
        except RuntimeError as error:
            raise MlflowException(f"onnxruntime-genai cannot open the model: {error}") from error

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Params = None
    ) -> list[str]:
        """The answer to every prompt, in order. Raises `MlflowException` for bad input."""
        settings = self._settings.updated(params or {})
        prompts = [self._encode(prompt) for prompt in prompts_of(model_input)]
        return ["".join(self._answer(prompt, settings)) for prompt in prompts]

    def predict_stream(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Params = None
    ) -> Iterator[str]:
        """The answer to one prompt in pieces of whole characters."""
        settings = self._settings.updated(params or {})
        prompts = prompts_of(model_input)
        if len(prompts) != 1:
            raise invalid(f"predict_stream answers one prompt, the input has {len(prompts)}")
        return self._answer(self._encode(prompts[0]), settings)

    def _check_format(self) -> None:
        if self._prompt_format not in PROMPT_FORMATS:
            expected = ", ".join(PROMPT_FORMATS)
            raise invalid(f"model_config: prompt_format is {self._prompt_format!r}, not {expected}")
        if self._prompt_format == "chat" and not self._template:
            raise invalid("model_config: prompt_format is chat, the model has no chat template")

    def _is_raw(self, prompt: str) -> bool:
        if self._prompt_format != "auto":
            return self._prompt_format == "raw"
        return not self._template or any(token in prompt for token in self._special)

    def _encode(self, prompt: str) -> Ids:
        """The prompt's token ids, at least one; raises where no room is left to answer."""
        text = prompt if self._is_raw(prompt) else self._as_chat(prompt)
        ids = np.asarray(self._tokenizer.encode(text), dtype=np.int32)
        if not len(ids):
            ids = np.asarray([self._tokenizer.bos_token_id], dtype=np.int32)
        if len(ids) >= self._context_length:
            raise invalid(
                f"the prompt has {len(ids)} tokens, the model's context is "
                f"{self._context_length} tokens, at least one of them for the answer"
            )
        return ids

    def _as_chat(self, prompt: str) -> str:
        turns = json.dumps([{"role": "user", "content": prompt}])
        return str(self._tokenizer.apply_chat_template(turns, template_str=self._template))

    def _answer(self, prompt: Ids, settings: Settings) -> Iterator[str]:
        return until_stop(self._pieces(self._tokens(prompt, settings)), settings.stop)

    def _pieces(self, tokens: Iterable[int]) -> Iterator[str]:
        """Whole characters as they complete; a broken one at the very end as U+FFFD."""
        decode = self._tokenizer.create_stream().decode
        ids: list[int] = []
        shown: list[str] = []
        for token in tokens:
            ids.append(token)
            shown.append(decode(token))
            yield shown[-1]
        text = "".join(shown)
        whole = str(self._tokenizer.decode(np.asarray(ids, dtype=np.int32)))
        if whole.startswith(text):
            yield whole[len(text) :]

    def _tokens(self, prompt: Ids, settings: Settings) -> Iterator[int]:
        """Token ids up to the end of the answer, which is left out."""
        options = og.GeneratorParams(self._model)
        options.set_search_options(**self._search_options(len(prompt), settings))
        generator = og.Generator(self._model, options)
        generator.append_tokens(prompt)
        while not generator.is_done():
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token in self._eos:
                return
            yield token

    def _search_options(self, prompt_tokens: int, settings: Settings) -> dict[str, Any]:
        """The runtime's options, each of them set: the folder's own defaults have no say."""
        return {
            "max_length": min(prompt_tokens + settings.max_tokens, self._context_length),
            "min_length": 0,
            "num_beams": 1,
            "num_return_sequences": 1,
            "no_repeat_ngram_size": 0,
            "repetition_penalty": settings.repetition_penalty,
            "do_sample": settings.temperature > 0,
            "temperature": settings.temperature or 1.0,
            "top_p": settings.top_p,
            "top_k": min(settings.top_k, self._vocab_size),
            "random_seed": -1 if settings.seed is None else settings.seed % SEEDS,
        }


mlflow.models.set_model(OnnxChat())
