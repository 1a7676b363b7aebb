"""llama.cpp's model: a GGUF file of a given shape with random weights, all matrices in Q4_0.

Names of tensors and keys are those that llama.cpp reads for its architecture `phi3`, where the
query, key and value matrices are one, and so are the gate and up matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from tests.bench.shapes import Shape

ARCHITECTURE = "phi3"
SEED = 17
BLOCK_WEIGHTS, BLOCK_BYTES = 32, 18  # Q4_0: an fp16 scale, then 32 weights of 4 bits
SCALE = 0.0043  # four bits of even chance then have a deviation of 0.02
SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = 256


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight of `rows` outputs; a vector has no rows and is stored in fp32."""

    name: str
    columns: int
    rows: int = 0

    @property
    def stored(self) -> tuple[tuple[int, ...], int]:
        """Its shape in bytes (in elements for a vector), and its size in bytes."""
        if not self.rows:
            return (self.columns,), 4 * self.columns
        shape = (self.rows, self.columns // BLOCK_WEIGHTS * BLOCK_BYTES)
        return shape, shape[0] * shape[1]


def of_shape(name: str, shape: Shape, folder: Path) -> Path:
    """The file of the model of `shape` below the cache `folder`; it is made where it is not."""
    path = folder / f"{name}-q4_0.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        write(shape, part)
        part.rename(path)
    return path


def write(shape: Shape, path: Path) -> None:
    """Write the model, a matrix at a time: a large one takes no more memory than a small one."""
    random = np.random.default_rng(SEED)
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _describe(writer, shape)
    _name_tokens(writer, shape.vocab_size)
    wanted = list(matrices(shape))
    for matrix in wanted:
        _announce(writer, matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for matrix in wanted:
        writer.write_tensor_data(_weights(matrix, random))
    writer.close()


def matrices(shape: Shape) -> Iterator[Matrix]:
    """Every weight of the network."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    yield Matrix("token_embd.weight", hidden, shape.vocab_size)
    for layer in range(shape.layers):
        yield Matrix(f"blk.{layer}.attn_norm.weight", hidden)
        yield Matrix(f"blk.{layer}.attn_qkv.weight", hidden, 3 * hidden)
        yield Matrix(f"blk.{layer}.attn_output.weight", hidden, hidden)
        yield Matrix(f"blk.{layer}.ffn_norm.weight", hidden)
        yield Matrix(f"blk.{layer}.ffn_up.weight", hidden, 2 * inner)
        yield Matrix(f"blk.{layer}.ffn_down.weight", inner, hidden)
    yield Matrix("output_norm.weight", hidden)
    yield Matrix("output.weight", hidden, shape.vocab_size)


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("random weights")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(shape.context_length)
    writer.add_rope_scaling_orig_ctx_len(shape.context_length)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.hidden_size // shape.heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(shape.vocab_size)


def _name_tokens(writer: gguf.GGUFWriter, vocab_size: int) -> None:
    """A tokenizer of the right size: every id has a text of its own, prompts come as ids."""
    plain = vocab_size - len(SPECIAL) - BYTES
    single = [f"<0x{value:02X}>" for value in range(BYTES)]
    kinds = gguf.TokenType
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
    types += [kinds.BYTE] * BYTES + [kinds.NORMAL] * plain
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*SPECIAL, *single, *(f"\u2581w{number}" for number in range(plain))])
    writer.add_token_scores([0.0] * (vocab_size - plain) + [-float(n) for n in range(plain)])
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


def _announce(writer: gguf.GGUFWriter, matrix: Matrix) -> None:
    shape, size_bytes = matrix.stored
    dtype = np.dtype(np.uint8 if matrix.rows else np.float32)
    kind = gguf.GGMLQuantizationType.Q4_0 if matrix.rows else None
    writer.add_tensor_info(matrix.name, shape, dtype, size_bytes, kind)


def _weights(matrix: Matrix, random: np.random.Generator) -> npt.NDArray[np.generic]:
    """Random blocks, all of one scale; the weight of a norm is 1."""
    shape, _ = matrix.stored
    if not matrix.rows:
        return np.ones(shape, dtype=np.float32)
    blocks = random.integers(0, 256, (*shape[:1], shape[1] // BLOCK_BYTES, BLOCK_BYTES), np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(SCALE).tobytes(), dtype=np.uint8)
    return blocks.reshape(shape)
