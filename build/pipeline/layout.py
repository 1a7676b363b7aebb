"""Which files of a model go into the flat folder of its bundle, and under which names."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from pathlib import Path

from build import contents
from build.findings import Findings
from build.options import Options
from build.pipeline import tokenizer
from build.pipeline.config import GENERATION_CONFIG, Config, code_files
from build.pipeline.flavor import CONFIG
from build.pipeline.places import Places

_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json"),
)
_PAPERS = ("license*", "licence*", "notice*", "readme*", "model_card*")
# What MLflow writes where it found no licence: it names a folder of the machine that logged.
_NO_LICENCE = b"A license file could not be found for"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def gather(places: Places, code: Mapping[str, Path]) -> dict[str, Path]:
    """Config, tokenizer, papers and `code` by their names in the bundle; the weights come apart."""
    found = dict(code)
    for path in (*_papers(places.root), *_papers(places.weights)):
        found[path.name] = path
    for folder in (places.weights, places.tokenizer):
        found |= {name: folder / name for name in _TOKENIZER if (folder / name).is_file()}
    if places.tokenizer != places.weights:  # what another folder's tokenizer has is its own
        own = {name for name in _TOKENIZER if (places.tokenizer / name).is_file()}
        found = {k: v for k, v in found.items() if k not in _TOKENIZER or k in own}
    names = (CONFIG, GENERATION_CONFIG)
    found |= {name: places.weights / name for name in names if (places.weights / name).is_file()}
    return found


def check(places: Places, files: Mapping[str, Path], findings: Findings) -> None:
    """Report links that leave, and files that are empty or pointers."""
    for folder, home in places.homes.items():
        findings.problems += [
            problem
            for problem in contents.link_problems(folder, home)
            if problem not in findings.problems
        ]
    for name, path in files.items():
        if path.exists():
            wrong = contents.file_problems(path.parent, (path.name,))
            findings.problems += [problem.replace(path.name, name, 1) for problem in wrong]


def code(places: Places, config: Config, options: Options, findings: Findings) -> dict[str, Path]:
    """The model's own Python files by name, where it needs them and they were allowed."""
    named = {*config.code_files, *code_files(tokenizer.settings(places.tokenizer))}
    if not named:
        return {}
    if not options.allow_remote_code:
        findings.problems.append(
            f"the model runs Python code of its own ({', '.join(sorted(named))}), which would run "
            "in the appliance; after reading it, --allow-remote-code takes it along"
        )
        return {}
    found = {path.name: path for path in (*places.weights.glob("*.py"), *_beside(places))}
    findings.problems += [
        f"the model's code file {name} is not in the model" for name in sorted(named - set(found))
    ]
    findings.shims.append(f"Python code of the model's own is taken along: {', '.join(found)}")
    return dict(sorted(found.items()))


def pickles(places: Places, left_behind: tuple[str, ...] = ()) -> list[str]:
    """Names of pickled files, here or left in the store."""
    here = (path.name for path in places.weights.iterdir() if path.suffix in _PICKLES)
    there = (name for name in left_behind if Path(name).suffix in _PICKLES)
    return sorted({*here, *(name.rpartition("/")[2] for name in there)})


def _papers(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        named = any(fnmatch.fnmatchcase(path.name.lower(), pattern) for pattern in _PAPERS)
        if named and path.is_file() and path.suffix != ".py" and not _says_nothing(path):
            yield path


def _says_nothing(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_NO_LICENCE)) == _NO_LICENCE


def _beside(places: Places) -> Iterator[Path]:
    if places.tokenizer != places.weights:
        yield from places.tokenizer.glob("*.py")
