"""`python -m build image URI --tag NAME:TAG --to DEST`: from a model's URI to a published image."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from build import options
from build.errors import EXIT_OK

if TYPE_CHECKING:
    from build.compose import Composed
    from build.destination import Destination
    from build.plan import Plan
    from build.variant import Variant
    from edge.bundle import Bundle

DESCRIPTION = """
Export the model that URI names (or take the bundle in the folder URI), build the appliance's image
for each architecture, join them in one OCI index, and publish it. Prints NAME:TAG@DIGEST.
Works with Docker, podman or buildah.
"""


def add_parser(commands: options.Commands) -> None:
    """Add `image` to the command line."""
    parser = commands.add_parser(
        "image", help="MLflow model or bundle -> container image", description=DESCRIPTION
    )
    parser.add_argument("uri", metavar="URI|BUNDLE")
    parser.add_argument("--tag", required=True, metavar="NAME:TAG", help="what it is called")
    parser.add_argument(
        "--to",
        action="append",
        metavar="DEST",
        help="may be repeated; local (default): this machine's container tool; oci-archive:FILE, "
        "oci:DIR, docker-archive:FILE, or a repository such as registry.example.com/acme/phi3",
    )
    parser.add_argument(
        "--arch",
        action="append",
        choices=("amd64", "arm64"),
        help="may be repeated; default: both, or this machine's where DEST holds only one",
    )
    parser.add_argument("--force", action="store_true", help="replace the file or folder of --to")
    parser.add_argument("--insecure", action="store_true", help="speak HTTP to the registry")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--compression", choices=("gzip", "zstd"), default="gzip")
    options.add_build_flags(parser)
    options.add_model_flags(parser)
    options.add_generation_flags(parser)
    options.add_store_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Build and publish; raises `BuildError` that names the stage."""
    from build import compose, publish
    from build.stages import Stages

    plan = plan_of(args)
    if args.dry_run:
        print(plan.as_text())
        return EXIT_OK
    stages = Stages()
    for target in plan.destinations:
        with stages.stage("check", f"{target}"):
            publish.check(target, tag=plan.tag, force=args.force, insecure=args.insecure)
    with TemporaryDirectory(prefix="phial-image-") as work:
        with stages.stage("export", args.uri):
            bundle = _bundle(args, Path(work) / "bundle")
        composed = compose.compose(
            plan, bundle, Path(work), stages, _options(args), is_loud=args.verbose
        )
        for target in plan.destinations:
            with stages.stage("publish", f"{plan.tag} to {target}"):
                stages.say(f"done: {_publish(plan, composed, target, args)}")
    print(f"{plan.tag}@{composed.index.digest}")
    return EXIT_OK


def _publish(plan: Plan, composed: Composed, target: Destination, args: argparse.Namespace) -> str:
    from build import publish
    from build.progress import Progress

    return publish.publish(
        composed.store,
        composed.index,
        composed.referrers,
        target,
        plan.tag,
        load=plan.tool.load,
        force=args.force,
        insecure=args.insecure,
        progress=Progress.for_terminal(),
    )


def plan_of(args: argparse.Namespace) -> Plan:
    """The plan of parsed flags; raises `UsageError`, or `ToolMissing`."""
    from build import builder, destination, plan
    from build.network import Network
    from build.oci.compression import Compression

    targets = tuple(destination.parse(text) for text in args.to or ["local"])
    hold_one = (destination.Local, destination.DockerArchive)
    is_single = all(isinstance(target, hold_one) for target in targets)
    usual = (builder.machine_arch(),) if is_single else plan.ARCHES
    arches = tuple(dict.fromkeys(args.arch or usual))
    return plan.Plan(
        uri=args.uri,
        arches=arches,
        tag=destination.parse_tag(args.tag),
        destinations=targets,
        tool=builder.find(args.tool),
        network=Network.chosen(args.index_url, args.proxy, args.ca, args.network),
        epoch_s=plan.epoch_s(),
        compression=Compression(args.compression),
        base=args.base,
        numpy=args.numpy,
        wheelhouse=plan.wheelhouse(args.wheelhouse, arches),
        is_fresh=args.no_cache,
        variant=_variant(Path(args.uri)),
    )


def _variant(folder: Path) -> Variant | None:
    """Which image a bundle wants; None for what is not exported yet."""
    from build import bundle, variant
    from edge.bundle import MANIFEST_NAME

    if not (folder / MANIFEST_NAME).is_file():
        return None
    return variant.of_flavor(bundle.open_(folder, whole=False).manifest.flavor)


def _bundle(args: argparse.Namespace, out: Path) -> Bundle:
    """The bundle that the URI names, or the export of the model that it names."""
    from build import bundle, seal
    from build.errors import InvalidModel
    from build.progress import Progress
    from edge.bundle import MANIFEST_NAME

    folder = Path(args.uri)
    if (folder / MANIFEST_NAME).is_file():
        return bundle.open_(folder, whole=True)
    job = seal.Job(args.uri, options.options_of(args), options.stores_of(args))
    verdict = seal.seal(job, out, force=False, progress=Progress.for_terminal())
    if verdict.bundle is None:
        raise InvalidModel(verdict.findings.problems)
    return verdict.bundle


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags that shape the model, as far as they were given: for the provenance."""
    names = ("name", "artifact", "context_length", "prompt_format", "system_prompt", "numpy")
    allowed = ("allow_pickle", "allow_remote_code", "allow_download")
    given = {name: getattr(args, name) for name in (*names, *allowed) if getattr(args, name)}
    if args.adapter:  # whose files lie somewhere on this machine
        given["adapter"] = [name for name, _ in args.adapter]
    return {**given, **dict(options.options_of(args).generation)}
