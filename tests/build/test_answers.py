"""The answer rate of the demo model, on a sample of its questions."""

from pathlib import Path

import pytest

from build import answers
from build.demo.questions import questions


def test_a_sample_is_spread_over_all_groups_and_always_the_same() -> None:
    sampled = answers.sample(120)
    assert len(sampled) == 120
    assert [q.chat for q in sampled] == [q.chat for q in answers.sample(120)]
    every = {question.group for question in questions()}
    assert len({question.group for question in sampled}) > len(every) / 2


def test_a_sample_is_never_more_than_there_is() -> None:
    everything = list(questions())
    assert len(answers.sample(10**6)) == len(everything)


@pytest.fixture(scope="module")
def metrics(demo_model: Path) -> dict[str, float]:
    return answers.metrics(demo_model, 60)


def test_the_rates_are_shares_of_what_was_asked(metrics: dict[str, float]) -> None:
    assert metrics["questions"] == 60
    rates = {name: value for name, value in metrics.items() if name != "questions"}
    assert all(0 <= value <= 1 for value in rates.values())
    assert metrics["answer_rate"] > 0.5
    assert metrics["ended_rate"] > 0.9


def test_the_names_of_groups_fit_mlflow(metrics: dict[str, float]) -> None:
    groups = [name for name in metrics if name.startswith("answer_rate/")]
    assert "answer_rate/capital_trained" in groups
    assert all(name.removeprefix("answer_rate/").replace("_", "a").isalnum() for name in groups)


def test_only_the_model_in_the_box_is_the_demo(repository: Path, tmp_path: Path) -> None:
    assert answers.is_demo(repository / "build" / "demo" / "model")
    assert answers.is_demo(repository / "build" / "demo" / ".." / "demo" / "model")
    assert not answers.is_demo(tmp_path)
