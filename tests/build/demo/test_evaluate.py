"""The evaluation, and the committed model against its bars."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from build.demo import __main__ as command_line
from build.demo import evaluate as evaluation
from build.demo import layout
from build.demo.corpus import NOTEBOOK, RAW, Chat
from build.demo.evaluate import MODEL, Answer, Respondent, Result, Score, evaluate, prompt
from build.demo.exchange import Exchange
from build.demo.questions import Question, questions

SPAIN = Exchange("capital", "What is the capital of Spain?", "The capital of Spain is Madrid.")
SPARSE = 4
"""Of the questions on no bar, every fourth is asked here; `evaluate` asks them all."""


@pytest.fixture(scope="module")
def respondent() -> Respondent:
    return Respondent()


@pytest.fixture(scope="module")
def result(respondent: Respondent) -> Result:
    """Every country once in each direction and kind of phrasing, and some of all the rest."""
    asked = list(questions())
    barred = [each for each in asked if each.group in evaluation.BARS]
    others = [each for each in asked if each.group not in evaluation.BARS]
    return evaluate(respondent, [*barred[::2], *others[::SPARSE]])


def say(respondent: Respondent, *texts: str) -> str:
    """The answer to the last of `texts`, a user's and the model's words in turn."""
    exchanges = tuple(
        Exchange("", question, answer)
        for question, answer in zip(texts[::2], [*texts[1::2], ""], strict=True)
    )
    return respondent.answer(prompt(Chat(None, exchanges))).text


def test_the_committed_model_meets_its_bars(result: Result) -> None:
    assert result.problems == []
    rates = {score.group: score.rate for score in result.scores}
    for group, bar in evaluation.BARS.items():
        assert rates[group] >= bar
    assert {score.group: score.questions for score in result.scores}["capital, held_out"] == 195


def test_every_answer_ends_by_itself(result: Result) -> None:
    assert all(score.ended == score.questions for score in result.scores)


def test_the_rest_of_what_it_was_taught_is_mostly_right(result: Result) -> None:
    rates = {score.group: score.rate for score in result.scores}
    for group in ("continent, trained", "unit, trained", "small talk, trained", "joke, trained"):
        assert rates[group] >= 0.9
    assert rates["second turn, trained"] >= 0.9
    assert rates["system prompt, trained"] >= 0.9
    assert rates["unknown, trained"] >= 0.9


def test_it_knows_the_capital_of_spain(respondent: Respondent) -> None:
    assert "Madrid" in say(respondent, "What is the capital of Spain?")


def test_it_understands_a_second_turn(respondent: Respondent) -> None:
    assert "Paris" in say(respondent, SPAIN.question, SPAIN.answer, "And of France?")


def test_it_says_who_it_is(respondent: Respondent) -> None:
    answer = say(respondent, "Who are you?")
    assert "Phial" in answer
    assert "demo model" in answer


def test_it_has_a_joke_about_an_atom(respondent: Respondent) -> None:
    assert "charge account" in say(respondent, "Tell me a joke about an atom.")


def test_it_does_not_know_what_it_was_never_taught(respondent: Respondent) -> None:
    assert say(respondent, "How is the weather?").startswith("I don't know.")
    assert say(respondent, "What is the capital of Atlantis?").startswith("I don't know.")


def test_it_answers_a_plain_completion(respondent: Respondent) -> None:
    assert respondent.answer("The capital of Italy is").text == " Rome."


def test_its_own_template_gives_the_layout_it_was_trained_on(respondent: Respondent) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    text = respondent.tokenizer.apply_chat_template(
        json.dumps(messages), add_generation_prompt=True
    )
    assert text == prompt(Chat("Be kind.", (Exchange("", "Hi", "Hello!"),)))


def test_the_committed_model_is_a_phi_3_of_a_few_megabytes() -> None:
    config = json.loads((MODEL / "genai_config.json").read_text())["model"]
    assert config["type"] == "phi3"
    assert config["context_length"] >= 2048
    assert config["eos_token_id"] == [4, 0]
    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 6_000_000
    tokens = json.loads((MODEL / "tokenizer.json").read_text())["added_tokens"]
    assert [token["content"] for token in tokens] == list(layout.SPECIAL_TOKENS)


def test_the_committed_model_carries_its_card_and_licence() -> None:
    card = (MODEL / "README.md").read_text()
    assert "python -m build.demo evaluate" in card
    assert "Apache-2.0" in card
    assert "Apache-2.0" in (MODEL / "LICENSE").read_text()


def test_a_prompt_stops_where_the_answer_begins() -> None:
    assert prompt(Chat(None, (SPAIN,))) == (
        "<|user|>\nWhat is the capital of Spain?<|end|>\n<|assistant|>\n"
    )
    assert prompt(Chat(None, (SPAIN,), NOTEBOOK)).endswith("Spain? <|end|>\n<|assistant|>")
    assert prompt(Chat(None, (SPAIN,), RAW)) == "What is the capital of Spain?"
    two = prompt(Chat("S", (SPAIN, Exchange("", "And of France?", "Paris"))))
    assert "Madrid.<|end|>\n<|user|>\nAnd of France?<|end|>\n" in two
    assert "Paris" not in two


class Parrot:
    """Answers every prompt alike."""

    def __init__(self, text: str, ended: bool = True) -> None:
        self.said = Answer(text, 7, ended)

    def answer(self, text: str) -> Answer:
        return self.said


def question(group: str = "capital, trained") -> Question:
    return Question(group, Chat(None, (SPAIN,)), frozenset({SPAIN.answer}))


def test_right_answers_are_counted_by_group() -> None:
    asked = [question(), question(), question("other")]
    counted = evaluate(Parrot(SPAIN.answer), asked)
    assert [(score.group, score.right, score.questions) for score in counted.scores] == [
        ("capital, trained", 2, 2),
        ("other", 1, 1),
    ]
    assert counted.tokens == 21
    assert counted.misses == ()
    assert counted.problems == []


def test_a_wrong_answer_is_kept_and_a_missed_bar_is_named() -> None:
    counted = evaluate(Parrot("The capital of Spain is Paris."), [question()])
    assert counted.misses[0].said == "The capital of Spain is Paris."
    assert counted.misses[0].expected == SPAIN.answer
    assert counted.problems == ["capital, trained: 0.0% right, at least 97% wanted"]


def test_an_answer_that_does_not_end_is_wrong_and_a_problem() -> None:
    counted = evaluate(Parrot(SPAIN.answer, ended=False), [question("other")])
    assert counted.scores[0].right == 0
    assert counted.misses[0].said.endswith("(no end)")
    assert counted.problems == ["other: 1 answers did not end"]


def test_the_table_has_a_line_for_each_group_and_each_problem() -> None:
    made = Result((Score("capital, trained", 10, 9, 10), Score("joke", 2, 2, 2)), (), 100, 2.0)
    lines = list(evaluation.table(made))
    assert lines[1].split() == ["capital,", "trained", "10", "9", "90.0%", "10", ">=", "97%"]
    assert lines[2].split() == ["joke", "2", "2", "100.0%", "2"]
    assert "50 a second" in lines[3]
    assert lines[4] == "MISSED BAR: capital, trained: 90.0% right, at least 97% wanted"


def test_a_folder_without_a_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model: .*empty has no genai_config\.json"):
        Respondent(tmp_path / "empty")


def test_the_command_prints_the_result_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from build.demo import questions as questions_module

    monkeypatch.setattr(questions_module, "questions", lambda full: [question(), question("x")])
    assert command_line.main(["evaluate", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [score["rate"] for score in printed["scores"]] == [1.0, 1.0]
    assert printed["problems"] == []


def test_the_command_fails_when_a_bar_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from build.demo import questions as questions_module

    wrong = Question("capital, trained", Chat(None, (SPAIN,)), frozenset({"Lisbon."}))
    monkeypatch.setattr(questions_module, "questions", lambda full: [wrong])
    assert command_line.main(["evaluate", "--misses"]) == 1
    printed = capsys.readouterr().out
    assert "MISSED BAR" in printed
    assert "'Lisbon.'" in printed


def test_the_command_shows_the_training_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["data", "--count", "3", "--seed", "9"]) == 0
    first = capsys.readouterr().out
    assert first.count("<|end|>") >= 3
    command_line.main(["data", "--count", "3", "--seed", "9"])
    assert capsys.readouterr().out == first


def test_data_and_evaluation_need_neither_torch_nor_transformers() -> None:
    program = (
        "import sys; from build.demo import __main__, evaluate, questions; "
        "evaluate.Respondent(); __main__.main(['data', '--count', '1']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'tokenizers')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
