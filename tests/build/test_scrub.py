"""Nothing of a machine and no secret gets into a lineage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import scrub

WORDS = st.text("abcdefgh.-_0123456789", min_size=1, max_size=8).filter(
    lambda word: word.strip(".")
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("models:/phi3@champion", "models:/phi3@champion"),
        ("runs:/abc/def", "runs:/abc/def"),
        ("mlflow-artifacts:/1/models/m-1/artifacts", "mlflow-artifacts:/1/models/m-1/artifacts"),
        ("mlflow-artifacts://u:p@host:5000/1/x", "mlflow-artifacts://host:5000/1/x"),
        ("https://user:token@git.example/a/b.git", "https://git.example/a/b.git"),
        ("https://token@git.example/a", "https://git.example/a"),
        ("s3://bucket/a?api_token=abc&x=1", "s3://bucket/a?api_token=***&x=1"),
        ("/home/me/train.py", "train.py"),
        ("~/code/train.py", "train.py"),
        ("python /home/me/train.py --data=/data/set", "python train.py --data=set"),
        ("file:///home/me/store/models", "models"),
        (r"C:\Users\me\train.py", "train.py"),
        ("and/or", "and/or"),
        ("1/2 of it", "1/2 of it"),
        ("a/b/c", "a/b/c"),
        ("", ""),
    ],
)
def test_text(before, after):
    assert scrub.text(before) == after


def test_credentials_leaves_paths_for_the_terminal():
    assert scrub.credentials("sqlite:////srv/store.db") == "sqlite:////srv/store.db"
    assert scrub.credentials("postgresql://me:pw@db/x") == "postgresql://db/x"


def test_tags_are_sorted_scrubbed_and_without_history():
    found = {
        "team": "edge",
        "mlflow.source.name": "/home/me/notebook.ipynb",
        "mlflow.log-model.history": '[{"artifact_path": "/home/me"}]',
        "mlflow.source.git.repoURL": "https://me:pw@git.example/x",
    }
    assert list(scrub.tags(found).items()) == [
        ("mlflow.source.git.repoURL", "https://git.example/x"),
        ("mlflow.source.name", "notebook.ipynb"),
        ("team", "edge"),
    ]


@given(st.lists(WORDS, min_size=2, max_size=6))
def test_no_absolute_path_survives(parts):
    path = "/" + "/".join(parts)
    assert scrub.text(path) == parts[-1]
    assert path not in scrub.text(f"logged from {path} today")


@given(WORDS, WORDS)
def test_no_user_info_survives(user, password):
    cleaned = scrub.text(f"https://{user}:{password}@host.example/x/y")
    assert cleaned == "https://host.example/x/y"


@given(st.text(max_size=60))
def test_scrubbing_twice_changes_nothing_more(text):
    once = scrub.credentials(text)
    assert scrub.credentials(once) == once
