"""Weights that an MLflow model only names: in a folder of this machine, or of the hub.

`huggingface_hub` keeps what was downloaded before (HF_HOME, HF_HUB_CACHE); nothing is downloaded
unless it was allowed, and pickles and code are never asked for unless they were allowed too.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from build.errors import InvalidModel
from build.options import Options

_PATTERNS = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "LICENSE*", "README*")
_PICKLES = ("*.bin", "*.pt", "*.pth")


def locate(name: str, revision: str, options: Options) -> Path:
    """The folder of the model `name`, a folder or a repository; raises `InvalidModel`."""
    place = Path(name)
    if place.is_dir() and (place / "config.json").is_file() and not revision:
        return place
    if place.is_absolute():
        raise InvalidModel(
            f"the weights lie outside the MLflow model, in the folder {place.name}, which this "
            "machine does not have; log the model with its weights, or export where the folder is"
        )
    if find_spec("huggingface_hub") is None:
        raise InvalidModel(
            f"the model only names {name} on the hub, and looking that up needs huggingface-hub, "
            "which is not installed here; scripts/install demo installs it"
        )
    return _snapshot(name, revision, options)


def _snapshot(name: str, revision: str, options: Options) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_PATTERNS, *(_PICKLES if options.allow_pickle else ())]
    patterns += ["*.py"] if options.allow_remote_code else []
    try:
        found = huggingface_hub.snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=patterns,
            local_files_only=not options.allow_download,
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise InvalidModel(_absent(name, revision, options, error)) from error
    return Path(found)


def _absent(name: str, revision: str, options: Options, error: Exception) -> str:
    named = f"{name} at {revision[:12]}" if revision else name
    if options.allow_download:
        return f"the hub did not give {named}: {str(error).splitlines()[0]:.200}"
    return (
        f"the model was logged without its weights (save_pretrained=False): it only names {named}, "
        "which is not in this machine's Hugging Face cache; "
        "mlflow.transformers.persist_pretrained_model(URI) puts the weights into the model, "
        "--allow-download fetches them from the hub"
    )
