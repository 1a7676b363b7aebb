"""The training run: AdamW, warm-up and cosine, the last part with weights rounded to int4,
and at the end some practice of what is hard.

Interrupted runs go on where their last checkpoint stands.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Phi3ForCausalLM

from build.demo import batches, corpus, network, quantization, questions, tokenizer
from build.demo.batches import Batch, Encoded
from build.demo.layout import END
from build.demo.network import Shape
from build.demo.questions import Question

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the weights, besides the data files and the machine's arithmetic."""

    shape: Shape = field(default_factory=Shape)
    seed: int = 1
    windows: int = 28
    practice_windows: int = 14
    tokenizer_chats: int = 60_000
    batch_tokens: int = 4096
    longest_chat: int = 768
    learning_rate: float = 2e-3
    practice_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.03
    quantized_from: float = 0.7
    bfloat16: bool = True

    @property
    def all_windows(self) -> int:
        return self.windows + self.practice_windows


@dataclass(slots=True)
class Run:
    """A run in progress: what a checkpoint holds."""

    recipe: Recipe
    vocabulary: Tokenizer
    model: Phi3ForCausalLM
    optimizer: torch.optim.AdamW
    windows_done: int = 0
    seconds: float = 0.0
    tokens: int = 0

    @property
    def practises(self) -> bool:
        return self.windows_done >= self.recipe.windows

    @property
    def quantizes(self) -> bool:
        return self.windows_done >= self.recipe.quantized_from * self.recipe.windows


def train(recipe: Recipe, folder: Path, report: Report = print) -> None:
    """Run `recipe` and write the weights into `folder`/weights, rounded as int4 will have them."""
    folder.mkdir(parents=True, exist_ok=True)
    run = start(recipe)
    if resume(run, folder / "checkpoint.pt"):
        report(f"resumed after window {run.windows_done}")
    report(f"recipe {asdict(recipe)}")
    report(f"parameters {sum(weight.numel() for weight in run.model.parameters())}")
    while run.windows_done < recipe.all_windows:
        loss = learn_window(run)
        report(_line(run, loss))
        checkpoint(run, folder / "checkpoint.pt")
        if run.windows_done % 8 == 0 or run.windows_done == recipe.all_windows:
            for group, (right, total) in score(run).items():
                report(f"  {group}: {right} of {total}")
    quantization.settle(run.model)
    network.save(run.model, run.vocabulary, folder / "weights")


def start(recipe: Recipe) -> Run:
    """A run before its first step: tokenizer fitted, weights drawn from the seed."""
    chats = corpus.chats(recipe.seed, 0, recipe.tokenizer_chats)
    texts = (
        text for chat in chats for each in chat.exchanges for text in (each.question, each.answer)
    )
    vocabulary = tokenizer.fit(texts, recipe.shape.vocab_size)
    torch.manual_seed(recipe.seed)
    model = network.build(recipe.shape, vocabulary)
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    norms = [weight for weight in model.parameters() if weight.dim() == 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": norms, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    return Run(recipe, vocabulary, model, optimizer)


def learn_window(run: Run) -> float:
    """Take one step for each batch of the next window; the mean loss a said token, in nats."""
    began = monotonic()
    recipe = run.recipe
    mix = corpus.PRACTICE if run.practises else corpus.BROAD
    made = batches.window(
        recipe.seed, run.windows_done, run.vocabulary, recipe.batch_tokens, recipe.longest_chat, mix
    )
    losses = []
    for number, batch in enumerate(made):
        rate = rate_at(recipe, run.windows_done + number / len(made))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        losses.append(learn(run, batch))
        run.tokens += batch.ids.numel()
    run.windows_done += 1
    run.seconds += monotonic() - began
    return sum(losses) / len(losses)


def learn(run: Run, batch: Batch) -> float:
    """One optimizer step; the loss before it."""
    with _arithmetic(run.recipe):
        logits, said = network.predict(run.model, weights_of(run), batch.ids, batch.said)
    loss = torch.nn.functional.cross_entropy(logits, said)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    return float(loss.item())


def weights_of(run: Run) -> dict[str, Tensor]:
    """The weights to compute with: rounded to int4 once the run has come to that part."""
    if run.quantizes:
        return quantization.quantized(run.model)
    return dict(run.model.named_parameters())


def rate_at(recipe: Recipe, windows: float) -> float:
    """The learning rate after so many windows: each part of the run has its own rise and fall."""
    if windows < recipe.windows:
        return recipe.learning_rate * pace(windows / recipe.windows, recipe.warm_up)
    progress = (windows - recipe.windows) / recipe.practice_windows
    return recipe.practice_rate * pace(progress, recipe.warm_up)


def pace(progress: float, warm_up: float) -> float:
    """The share of the full learning rate at `progress` (0 to 1): linear, then cosine to 2 %."""
    if progress < warm_up:
        return (progress + 1e-4) / warm_up
    angle = math.pi * (progress - warm_up) / (1 - warm_up)
    return 0.02 + 0.98 * (1 + math.cos(angle)) / 2


def score(run: Run) -> dict[str, tuple[int, int]]:
    """Right answers and questions by group, as greedy decoding would give them.

    Left out are questions to which several answers are right: only real decoding can tell there.
    """
    asked = [each for each in questions.questions() if _wanted(each) in each.accepted]
    right: Counter[str] = Counter()
    with torch.no_grad():
        weights = weights_of(run)
        for place in range(0, len(asked), 64):
            part = asked[place : place + 64]
            batch = batches.collate([_last_answer(run, each) for each in part])
            logits, said = network.predict(run.model, weights, batch.ids, batch.said)
            rows = batch.said[:, 1:].nonzero()[:, 0]
            wrong = set(rows[logits.argmax(dim=1) != said].tolist())
            right.update(each.group for row, each in enumerate(part) if row not in wrong)
    total = Counter(each.group for each in asked)
    return {group: (right[group], total[group]) for group in total}


def _wanted(question: Question) -> str:
    return question.chat.exchanges[-1].answer


def _last_answer(run: Run, question: Question) -> Encoded:
    """The chat of `question` with nothing but its last answer marked as to be said."""
    whole = batches.encode(question.chat, run.vocabulary, run.recipe.shape.context_length)
    last = len(whole.said) - whole.said[::-1].index(True)
    first = last - len(run.vocabulary.encode(_wanted(question) + END).ids)
    return Encoded(whole.ids, [first <= place < last for place in range(len(whole.ids))])


def checkpoint(run: Run, path: Path) -> None:
    """Write the run to `path`, never leaving half a file there."""
    fresh = path.with_suffix(".new")
    torch.save(
        {
            "recipe": asdict(run.recipe),
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "progress": (run.windows_done, run.seconds, run.tokens),
        },
        fresh,
    )
    fresh.replace(path)


def resume(run: Run, path: Path) -> bool:
    """Take up the checkpoint at `path` if there is one; whether there was.

    Raises:
        ValueError: the checkpoint belongs to another recipe.
    """
    if not path.exists():
        return False
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    if saved["recipe"] != asdict(run.recipe):
        raise ValueError(
            f"{path.name} belongs to another recipe; remove it or choose another folder"
        )
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.windows_done, run.seconds, run.tokens = saved["progress"]
    return True


def _arithmetic(recipe: Recipe) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if recipe.bfloat16 else nullcontext()


def _line(run: Run, loss: float) -> str:
    speed = run.tokens / run.seconds if run.seconds else 0.0
    kind = "int4" if run.quantizes else "float"
    return (
        f"window {run.windows_done:3d} of {run.recipe.all_windows}, {kind}: loss {loss:.4f}, "
        f"{run.tokens / 1e6:.1f} M tokens, {run.seconds:.0f} s, {speed:.0f} tokens/s"
    )
