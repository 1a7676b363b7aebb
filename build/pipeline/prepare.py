"""The weights as they will be served: safetensors, whole, with an adapter merged into them."""

from __future__ import annotations

from pathlib import Path

from build.errors import InvalidModel
from build.findings import Findings
from build.options import Options
from build.pipeline import headers, layout, lora, merge, pickled, unwrap, weights
from build.pipeline.places import Places
from build.pipeline.weights import PRECISIONS, Weights
from build.source import Source


def read(
    places: Places, source: Source, options: Options, work: Path, findings: Findings
) -> Weights | None:
    """The base model's weights; None, and problems, where there are none that can be served.

    Pickled ones are converted in `work` where that was allowed.
    """
    pickles = layout.pickles(places, source.left_behind)
    if weights.has_safetensors(places.weights):
        found = weights.read(places.weights, findings)
        if pickles:
            findings.shims.append(f"{', '.join(pickles)} may hold pickles: left out, not opened")
    else:
        found = _unpickled(places, pickles, options, work, findings)
    if found is not None and found.dtype not in PRECISIONS:
        findings.problems.append(
            f"the weights are of the type {found.dtype}, expected {', '.join(PRECISIONS)}"
        )
    return found


def merged(base: Weights, places: Places, work: Path, findings: Findings) -> Weights:
    """The weights with the model's PEFT adapter, where it has one; what does not fit is a problem.

    Nothing is written for a model that has problems already.
    """
    if places.adapter is None:
        return base
    adapter = lora.read(places.adapter, findings)
    if adapter is None:
        return base
    if unwrap.is_wrapped(base):
        findings.shims.append("the base model was saved in peft's wrappers, which are left out")
        base = unwrap.unwrap(base, work / "unwrapped")
    try:
        changes = merge.plan(base, headers.read(places.adapter / lora.WEIGHTS), adapter)
        findings.shims.append(f"the LoRA adapter was merged into {len(changes)} tensors")
        if not findings.problems:
            return merge.merge(base, places.adapter, adapter, work / "merged")
    except InvalidModel as error:
        findings.problems += error.problems
    return base


def _unpickled(
    places: Places, pickles: list[str], options: Options, work: Path, findings: Findings
) -> Weights | None:
    if not pickles:
        findings.problems.append(
            f"the model has no weights, expected {weights.SINGLE} or {weights.INDEX}"
        )
        return None
    if not options.allow_pickle:
        findings.problems.append(
            f"the weights are pickled ({', '.join(pickles)}), and a pickle can run any code when "
            "it is opened: save_pretrained writes safetensors, so log the model again with them; "
            "--allow-pickle reads the tensors alone, and nothing else that the file holds"
        )
        return None
    if not pickled.is_there(places.weights):
        findings.problems.append(
            f"{', '.join(pickles)} are no weights of transformers, expected "
            f"{' or '.join(weights.PICKLED)}"
        )
        return None
    try:
        pickled.convert(places.weights, work / "unpickled")
    except InvalidModel as error:
        findings.problems += error.problems
        return None
    findings.shims.append("the pickled weights were read as tensors and made safetensors")
    return weights.read(work / "unpickled", findings)
