"""The wheels of the pipeline variant: torch for CPUs, transformers, and what they import.

Both read their own source files at run time (transformers finds its models by them, torch reads
its settings' comments), and transformers reads docstrings: so these two keep their sources, with
bytecode beside them.
"""

from __future__ import annotations

import argparse
import fnmatch
import re
import shutil
import zipfile
from pathlib import Path

from build.rootfs import bytecode, contents, files, wheels

# Parts of the standard library that torch imports.
SYSTEM_KEPT = (
    *contents.SYSTEM_KEPT,
    "usr/lib/python3.11/unittest/*",
    "usr/lib/python3.11/{cProfile,profile,pstats,pdb}.py",
)
TORCH_LEFT_OUT = (
    "torch/{include,test,share}",
    # programs; torch looks for the one that it would share tensors through, and never runs it here
    "torch/bin/*",
    # libraries that torch's own tests load
    "torch/lib/lib{aoti_custom_ops,backend_with_compiler,jitbackend_test,torchbind_test}.so",
    "torch/testing/_internal/*",
    # code generation: there is no compiler to give it to
    "torch/_inductor/{codegen,fx_passes,kernel,autoheuristic,template_heuristics}",
    "torch/utils/{benchmark,hipify,tensorboard}",
    "torchgen/{packaged,api,dest}",
    "torch-*.dist-info/RECORD",
)
TORCH_KEPT = (
    "torch/bin/torch_shm_manager",
    "torch/testing/_internal/{__init__,common_dtype,logging_tensor}.py",
    "torch/testing/_internal/distributed/{__init__,fake_pg}.py",
)
LIBRARIES_LEFT_OUT = (
    *contents.LIBRARIES_LEFT_OUT,
    # for compiling, for downloads, and for command lines
    "{networkx,setuptools,hf_xet,fsspec}*",
    "{_distutils_hack,distutils-precedence.pth,isympy.py}",
    "{pydantic,annotated_types,typing_inspection}*",
    "{typer,rich,markdown_it,mdurl,pygments,shellingham,annotated_doc}*",
    # what models were converted by and generated from
    "transformers/models/*/{convert,modular}_*.py",
)
# A start imports one model of hundreds: compiling that takes milliseconds, keeping all 13 MB.
_NO_BYTECODE = re.compile(
    r"/transformers/models/[^/]+/"
    r"(modeling|processing|image_processing|video_processing|feature_extraction)_"
)
_CUDA = ("*/libtorch_cuda*", "*/libc10_cuda*", "*/libcudart*", "nvidia/*")
_TORCH = ("torch", "torchgen", "functorch", "torch-*.dist-info")


def fill(trees: dict[str, Path], debian_root: Path, args: argparse.Namespace) -> None:
    """Fill the trees `torch` and `libraries` from the downloads that `args` name."""
    lib = trees["libraries"] / "app/lib"
    lib.mkdir(parents=True)
    install(args, lib)
    if args.numpy == "debian":
        files.take_numpy(debian_root, lib, args.machine)
    contents.remove(lib, TORCH_LEFT_OUT, kept=TORCH_KEPT)
    contents.remove(lib, LIBRARIES_LEFT_OUT)
    compile_all(lib, trees["libraries"])
    move_torch(lib, trees["torch"] / "app/lib")
    for name in ("torch", "libraries"):
        files.settle_modes(trees[name])


def install(args: argparse.Namespace, lib: Path) -> None:
    """Unpack the wheels of both locks into `lib`; raises `ValueError` for a torch with CUDA."""
    names = {"torch": f"torch-{args.arch}.txt", "pipeline": "pipeline.txt"}
    for folder, requirements in names.items():
        found = args.downloads / folder / args.arch
        for wheel in found.glob("torch-*.whl"):
            refuse_cuda(wheel)
        wheels.install(args.sources / "requirements" / requirements, args.machine, found, lib)


def refuse_cuda(wheel: Path) -> None:
    """Raise `ValueError` where the wheel of torch is one for GPUs: gigabytes that nothing uses."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    found = next((n for n in names if any(fnmatch.fnmatch(n, one) for one in _CUDA)), "")
    if found:
        raise ValueError(
            f"{wheel.name} is a build of torch for GPUs, as it holds {found}; expected one for "
            "CPUs, such as those of https://download.pytorch.org/whl/cpu"
        )


def compile_all(lib: Path, root: Path) -> None:
    """Bytecode for all: in place of the sources, but for torch and transformers beside them."""
    kept = [lib / "torch", lib / "transformers"]
    for folder in kept:
        bytecode.add(folder, root, skipped=_NO_BYTECODE)
    # As the image runs at that level, numpy expects to find docstrings.
    bytecode.replace_sources(lib, root, level=bytecode.WITH_DOCSTRINGS, kept=kept)


def move_torch(lib: Path, target: Path) -> None:
    """Torch in a layer of its own, as its hundreds of megabytes change least often."""
    target.mkdir(parents=True)
    for found in contents.matches(lib, _TORCH):
        shutil.move(found, target / found.name)
