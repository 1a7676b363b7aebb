"""`python -m build fetch --out DIR`: what image builds download, kept for offline builds."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from build import options
from build.errors import EXIT_OK
from build.variant import PIPELINE, SLIM, VARIANTS

if TYPE_CHECKING:
    from build.builder import Recipe, Tool
    from build.stages import Stages

DESCRIPTION = """
Download Debian's packages, the wheels of the locked requirements and the base image into DIR.
`python -m build image --wheelhouse DIR` then builds without a network, on another machine too.
"""


def add_parser(commands: options.Commands) -> None:
    """Add `fetch` to the command line."""
    parser = commands.add_parser(
        "fetch", help="download what image builds need", description=DESCRIPTION
    )
    parser.add_argument("--out", required=True, type=options.folder, metavar="DIR")
    parser.add_argument(
        "--platform",
        action="append",
        choices=("linux/amd64", "linux/arm64"),
        help="may be repeated; default: both",
    )
    parser.add_argument(
        "--variant",
        choices=[one.name for one in VARIANTS],
        default=SLIM.name,
        help="pipeline: what images of transformers pipelines need as well, torch above all",
    )
    parser.add_argument("--force", action="store_true", help="replace the wheelhouse in DIR")
    options.add_build_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Fill the wheelhouse: it appears whole or not at all."""
    from build import workspace
    from build.errors import OutputRefused
    from build.stages import Stages

    platforms = args.platform or ["linux/amd64", "linux/arm64"]
    if args.out.exists() and not args.force:
        raise OutputRefused(f"{args.out} is there already; --force replaces it")
    stages = Stages()
    with workspace.beside(args.out) as work:
        made = work / "wheelhouse"
        made.mkdir()
        _fill(made, [name.partition("/")[2] for name in platforms], args, stages)
        workspace.publish(made, args.out, replace=args.force)
    stages.say(f"done: {args.out}")
    return EXIT_OK


def _fill(folder: Path, arches: list[str], args: argparse.Namespace, stages: Stages) -> None:
    from build import builder, context, plan, torch_wheel, variant
    from build.network import Network

    tool, kind = builder.find(args.tool), variant.named(args.variant)
    network = Network.chosen(args.index_url, args.proxy, args.ca, args.network)
    with (
        TemporaryDirectory(prefix="phial-fetch-") as scratch,
        builder.sources(network, None, kind) as (source, secrets),
    ):
        if kind is PIPELINE:
            with stages.stage("torch", ", ".join(arches)):
                torch_wheel.add(arches, source / context.WHEELHOUSE, network)
        for arch in arches:
            with stages.stage(f"download {arch}", f"with {tool.name}"):
                base = {"BASE": args.base} if args.base else {}
                recipe = builder.Recipe(
                    context.dockerfile(arch), kind.downloads, source, arch, base, secrets,
                    network=args.network, is_fresh=args.no_cache,
                )  # fmt: skip
                _download(tool, recipe, Path(scratch), folder, is_loud=args.verbose)
    with stages.stage("base image"):
        tool.pull(args.base or context.base_reference(), plan.BASE_IMAGE)
        tool.save(plan.BASE_IMAGE, folder / plan.base_archive())


def _download(tool: Tool, recipe: Recipe, scratch: Path, into: Path, *, is_loud: bool) -> None:
    """Run the stage that downloads and unpack its files."""
    from build.oci import docker_archive, layer
    from build.oci.compression import Compression
    from build.oci.store import Store

    archive = scratch / f"{recipe.arch}.tar"
    tool.build(recipe, archive, is_loud=is_loud)
    store = Store(scratch / f"layout-{recipe.arch}")
    opened = docker_archive.read(archive)
    for number in range(len(opened.layers)):
        with opened.open_layer(number) as stream:
            found = layer.normalise(stream, store, epoch_s=0, compression=Compression.NONE)
        for info, content in layer.entries(store, found.descriptor):
            if content is not None:
                target = into / info.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as writer:
                    shutil.copyfileobj(content, writer)
    archive.unlink()
