"""What a published document says about the model's origin: the lineage, flat and impersonal."""

from __future__ import annotations

from dataclasses import asdict

from build import scrub
from edge.bundle import Manifest

# Who logged the model stands in the bundle; it is not for everyone who can read the image.
_PERSONAL = "mlflow.user"


def facts(manifest: Manifest) -> dict[str, str]:
    """Names such as `phial:mlflow:run_id` or `phial:model:type` with their values, sorted.

    Empty values are left out, and so is whoever logged the model.
    """
    lineage = asdict(manifest.lineage)
    tags = {key: value for key, value in lineage.pop("tags").items() if key != _PERSONAL}
    model = {
        "flavor": manifest.flavor,
        "type": manifest.model_type,
        "quantization": manifest.quantization,
        "context_length": str(manifest.context_length),
    }
    said = {
        **{f"phial:mlflow:{key}": value for key, value in lineage.items()},
        **{f"phial:mlflow:tag:{key}": value for key, value in tags.items()},
        **{f"phial:model:{key}": value for key, value in model.items()},
        **{f"phial:exported-with:{key}": value for key, value in manifest.libraries.items()},
    }
    return {key: scrub.text(value) for key, value in sorted(said.items()) if value}


def origin(manifest: Manifest) -> str:
    """The URI that the model was found at, an MLflow one unless it came from a folder."""
    return scrub.text(manifest.lineage.resolved_uri or manifest.lineage.source_uri)
