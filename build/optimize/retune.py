"""What can be changed in a graph that is ONNX already, and what cannot, with the reason.

Weights that were rounded stay rounded: finer blocks, more bits or a better search for codes need
the weights of Hugging Face. Coarser blocks can be had, and round a second time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from build.errors import InvalidModel
from build.genai_config import GenaiConfig
from build.optimize import blocks, cache, embedding, head
from build.optimize.graph import Graph, set_attribute
from build.optimize.variant import STOCK_BLOCK_SIZE, Variant

_BITS, _HEAD_BITS = 4, 8


def effective(graph: Graph, variant: Variant) -> Variant:
    """`variant` without what the graph has already."""
    nodes = blocks.quantized(graph)
    levels = {int(a.i) for n in nodes for a in n.attribute if a.name == "accuracy_level"}
    is_so = nodes and not blocks.plain(graph) and blocks.coarsest(graph) == variant.block_size
    return replace(
        variant,
        block_size=0 if is_so else variant.block_size,
        embeddings=variant.embeddings and not embedding.is_quantized(graph),
        head=variant.head and not head.is_pruned(graph),
        accuracy_level=0 if levels == {variant.accuracy_level} else variant.accuracy_level,
        kv8=variant.kv8 and not cache.is_int8(graph),
    )


def obstacles(graph: Graph, variant: Variant) -> Iterator[str]:
    """Why `variant`, as `effective` left it, cannot be made of the graph: a sentence each."""
    yield from _weight_obstacles(graph, variant)
    if variant.embeddings and embedding.plain(graph) is None:
        yield "embed: the graph has no lookup of token ids in a table of plain numbers"
    if variant.head and graph.head() is None:
        yield "head: no MatMul was found that makes the logits"
    if variant.kv8 and not cache.is_fit(graph):
        yield "kv8: only a cache of plain numbers under GroupQueryAttention in every layer can be"


def _weight_obstacles(graph: Graph, variant: Variant) -> Iterator[str]:
    coarsest, is_plain = blocks.coarsest(graph), bool(blocks.plain(graph))
    if variant.block_size and coarsest > variant.block_size:
        yield (
            f"b{variant.block_size}: what blocks of {coarsest} rounded away is not in the graph "
            "any more; finer blocks need the Hugging Face weights"
        )
    if variant.block_size and blocks.is_grouped(graph):
        yield f"b{variant.block_size}: the columns of a weight are reordered (g_idx), as by GPTQ"
    if variant.block_size and not coarsest and not is_plain:
        yield f"b{variant.block_size}: the graph has no MatMul of a weight"
    if variant.algorithm:
        yield (
            "rtn, kquant: the search for codes needs the weights before they were rounded, "
            "those of Hugging Face"
        )
    top = graph.head()
    if variant.last8 and (top is None or top not in blocks.plain(graph)):
        yield (
            "last8: int8 cannot bring back what the last MatMul lost; it needs a MatMul of plain "
            "numbers, or the Hugging Face weights"
        )
    if variant.accuracy_level and not coarsest and not variant.block_size:
        yield f"acc{variant.accuracy_level}: the graph has no quantized MatMul"


def write(
    folder: Path, config: GenaiConfig, variant: Variant, calibration: Sequence[int], out: Path
) -> None:
    """Write the ONNX `folder` changed as `variant` says into `out`.

    `calibration` are token ids for the scales of an int8 cache. Raises `InvalidModel` with what
    cannot be done.
    """
    graph = Graph(folder, config)
    asked = effective(graph, variant)
    problems = list(obstacles(graph, asked))
    if problems:
        raise InvalidModel(problems)
    _change(graph, asked, calibration)
    out.mkdir(parents=True)
    graph.save(out)
    _copy_rest(folder, out, config)


def _change(graph: Graph, variant: Variant, calibration: Sequence[int]) -> None:
    if variant.kv8:
        cache.quantize(graph, cache.calibrate(graph, calibration))
    table = embedding.plain(graph) if variant.embeddings else None
    if table is not None:
        size = variant.block_size or blocks.coarsest(graph) or STOCK_BLOCK_SIZE
        embedding.quantize(graph, table, size)
    top = graph.head()
    if variant.head and top is not None:
        head.prune(graph, top)
    if variant.last8 and top is not None:
        size = variant.block_size or blocks.coarsest(graph) or STOCK_BLOCK_SIZE
        blocks.quantize(graph, top, size, _HEAD_BITS)
    if variant.block_size:
        blocks.requantize(graph, variant.block_size)
        for node in blocks.plain(graph):
            blocks.quantize(graph, node, variant.block_size, _BITS)
    if variant.accuracy_level:
        for node in blocks.quantized(graph):
            set_attribute(node, "accuracy_level", variant.accuracy_level)


def _copy_rest(folder: Path, out: Path, config: GenaiConfig) -> None:
    """Everything but the graph and the files of its weights."""
    from build import decoder
    from build.findings import Findings

    found = decoder.read(folder, config, Findings())
    left = {config.decoder, *(found.weight_files if found else ())}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in left:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / name)
