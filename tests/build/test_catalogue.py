"""Look-ups in a store that pages, forgets and fails: a scripted client."""

from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

from build.catalogue import Catalogue, is_absent
from build.errors import SourceNotFound

ABSENT = MlflowException("no such thing", RESOURCE_DOES_NOT_EXIST)
BROKEN = MlflowException("out of order", INTERNAL_ERROR)


class Page(list):
    """A page of results, as MLflow's client gives them."""

    def __init__(self, items, token):
        super().__init__(items)
        self.token = token


def paged(items, size=2):
    """A search that hands out `size` items at a time."""

    def search(*_, page_token=None, **__):
        start = int(page_token or 0)
        following = str(start + size) if start + size < len(items) else ""
        return Page(items[start : start + size], following)

    return search


def failing(error):
    def call(*_, **__):
        raise error

    return call


def catalogue_of(**calls):
    return Catalogue(SimpleNamespace(**calls))


def version(number):
    return SimpleNamespace(name="m", version=number)


def logged(name, run_id, created, model_id):
    return SimpleNamespace(
        name=name, source_run_id=run_id, creation_timestamp=created, model_id=model_id
    )


RUN = SimpleNamespace(info=SimpleNamespace(run_id="r1", experiment_id="7"))


def test_versions_of_every_page_are_seen():
    found = catalogue_of(search_model_versions=paged([version(n) for n in (9, 10, 2, 1, 3)]))
    assert found.version("m", "").version == 10
    assert found.version("m", "3").version == 3
    with pytest.raises(SourceNotFound, match="known versions: 1, 2, 3, 9, 10"):
        found.version("m", "4")


def test_long_lists_are_cut():
    found = catalogue_of(search_model_versions=paged([version(n) for n in range(1, 15)]))
    with pytest.raises(SourceNotFound, match=r"known versions: 1, .*, 10, \.\.\.$"):
        found.version("m", "99")


def test_the_newest_model_of_that_name_and_run():
    models = [
        logged("chat", "r1", 5, "m-new"),
        logged("chat", "r2", 9, "m-other-run"),
        logged("chat", "r1", 3, "m-old"),
        logged("score", "r1", 8, "m-other-name"),
    ]
    found = catalogue_of(search_logged_models=paged(models, size=1))
    assert found.model_of_run(RUN, "chat") == "m-new"
    assert found.model_of_run(RUN, "score") == "m-other-name"


def test_an_artifact_folder_instead_of_a_logged_model():
    found = catalogue_of(search_logged_models=paged([]), list_artifacts=lambda *_: ["MLmodel"])
    assert found.model_of_run(RUN, "models/old") == ""


def test_a_run_that_logged_nothing():
    found = catalogue_of(search_logged_models=paged([]), list_artifacts=lambda *_: [])
    with pytest.raises(SourceNotFound, match="logged no model 'chat'; there are no models"):
        found.model_of_run(RUN, "chat")


def test_what_is_gone_is_left_out_of_a_lineage():
    found = catalogue_of(get_run=failing(ABSENT), get_experiment=failing(ABSENT))
    assert found.run_or_none("r1") is None
    assert found.run_or_none("") is None
    assert found.experiment_name("7") == ""
    assert found.experiment_name("") == ""


def test_what_is_gone_is_an_error_where_it_was_asked_for():
    found = catalogue_of(get_run=failing(ABSENT), get_logged_model=failing(ABSENT))
    with pytest.raises(SourceNotFound, match="no run has the id 'r1'"):
        found.run("r1")
    with pytest.raises(SourceNotFound, match="no logged model has the id 'm-1'"):
        found.logged_model("m-1")


@pytest.mark.parametrize(
    ("call", "look_up"),
    [
        ("get_registered_model", lambda found: found.model("m")),
        ("search_model_versions", lambda found: found.version("m", "")),
        ("get_logged_model", lambda found: found.logged_model("m-1")),
        ("get_run", lambda found: found.run("r1")),
        ("get_run", lambda found: found.run_or_none("r1")),
        ("get_experiment", lambda found: found.experiment_name("7")),
        ("search_logged_models", lambda found: found.model_of_run(RUN, "chat")),
    ],
)
def test_a_failing_store_is_never_taken_for_an_empty_one(call, look_up):
    with pytest.raises(MlflowException, match="out of order"):
        look_up(catalogue_of(**{call: failing(BROKEN)}))


def test_absence_is_told_by_code_and_not_by_words():
    assert is_absent(ABSENT)
    assert not is_absent(BROKEN)
    assert not is_absent(MlflowException("RESOURCE_DOES_NOT_EXIST: not really"))
