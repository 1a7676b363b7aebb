"""Small images for tests: layers from dictionaries, Debian's files, metadata of real wheels."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from build.attestation.subject import Subject
from build.oci.descriptor import Platform
from build.oci.image import Image
from build.oci.layer import Compression, normalise
from build.oci.store import Store
from edge.bundle import Defaults, File, Lineage, Manifest, Signature, encode

EPOCH_S = 1_735_689_600
AMD64 = Platform("linux", "amd64")


@dataclass(frozen=True)
class Symlink:
    target: str


@dataclass(frozen=True)
class HardLink:
    target: str


Files = Mapping[str, bytes | Symlink | HardLink | None]

# What the appliance really runs on, with every way of declaring a licence that wheels know.
WHEELS = (
    "blinker",
    "flask",
    "flatbuffers",
    "gunicorn",
    "itsdangerous",
    "llguidance",
    "numpy",
    "onnxruntime",
    "onnxruntime-genai",
    "packaging",
    "prometheus-client",
    "protobuf",
)
LIBC = b"""Package: libc6
Source: glibc
Version: 2.36-9+deb12u13
Architecture: amd64
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Homepage: https://www.gnu.org/software/libc/libc.html
Description: GNU C Library: Shared libraries
 Contains the standard libraries that are used by nearly all programs.
 .
 Also on the system's own ones.
"""
LIBSTDC = b"""Package: libstdc++6
Source: gcc-12 (12.2.0-14+deb12u1)
Version: 12.2.0-14+deb12u1
Architecture: amd64
Maintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>
SHA256: 90fafc0a0b9a3c1a4dc0d1a3c5ee0f0c9c8ed0f6a1b3b6f5a4f9c1d2e3f4a5b6
"""
GCC_BASE = b"""Package: gcc-12-base
Source: gcc-12
Version: 12.2.0-14+deb12u1
Architecture: amd64
"""
EXPAT = b"""Package: libexpat1
Source: expat
Version: 2.5.0-1+deb12u2
Architecture: amd64
Homepage: https://libexpat.github.io/
"""
FREE_COPYRIGHT = b"""This is the Debian prepackaged version of the GNU C Library.

On Debian systems the texts are in `/usr/share/common-licenses/LGPL-2.1' and in
/usr/share/common-licenses/GPL-2.
"""
DEP5_COPYRIGHT = b"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Expat

Files: *
Copyright: 1998-2000 Thai Open Source Software Center Ltd
License: MIT

Files: debian/*
Copyright: 2003 Somebody Else
License: GPL-2+ or Artistic

Files: tests/*
Copyright: nobody
License: public-domain

License: MIT
 Permission is hereby granted, free of charge,
 .
 to any person.

License: public-domain
 Nobody claims anything here.
"""
WEIGHTS = b"not really weights"
LINEAGE = Lineage(
    source_uri="models:/phi3@champion",
    resolved_uri="models:/phi3/3",
    model_name="phi3",
    model_version="3",
    alias="champion",
    run_id="0123456789abcdef",
    experiment_name="/Users/ada@example.org/experiments/phi",
    tags={"team": "edge", "mlflow.user": "ada", "data": "/home/ada/corpus.txt"},
)
MANIFEST = Manifest(
    name="phi3",
    flavor="onnx",
    files=(File("model/model.onnx", len(WEIGHTS), hashlib.sha256(WEIGHTS).hexdigest()),),
    signature=Signature("prompt"),
    generation=Defaults(),
    context_length=4096,
    eos_ids=(2,),
    kv_bytes_per_token=1024,
    quantization="int4-b128",
    lineage=LINEAGE,
    libraries={"mlflow": "3.17.2"},
)
BUNDLE: Files = {"model/manifest.json": encode(MANIFEST), "model/model/model.onnx": WEIGHTS}
DEBIAN: Files = {
    "var/lib/dpkg/status.d/libc6": LIBC,
    "var/lib/dpkg/status.d/libc6.md5sums": b"0123  lib/x86_64-linux-gnu/libc.so.6\n",
    "var/lib/dpkg/status.d/libstdc++6": LIBSTDC,
    "var/lib/dpkg/status.d/gcc-12-base": GCC_BASE,
    "var/lib/dpkg/status.d/libexpat1": EXPAT,
    "usr/share/doc/libc6/copyright": FREE_COPYRIGHT,
    "usr/share/doc/gcc-12-base/copyright": FREE_COPYRIGHT,
    "usr/share/doc/libstdc++6": Symlink("gcc-12-base"),
    "usr/share/doc/libexpat1/copyright": DEP5_COPYRIGHT,
}
APPLIANCE: Files = {"app/edge/__init__.pyc": b"code", "app/edge/web/site.pyc": b"code"}


def metadata_of(name: str) -> bytes:
    """The METADATA that the wheel `name` of this environment was installed with."""
    return str(distribution(name).read_text("METADATA")).encode()


def wheels(*names: str) -> Files:
    """The files of the `dist-info` folders of real wheels."""
    found: dict[str, bytes] = {}
    for name in names:
        folder = f"app/lib/{name.replace('-', '_')}-{distribution(name).version}.dist-info"
        found[f"{folder}/METADATA"] = metadata_of(name)
        found[f"{folder}/RECORD"] = b""
    return found


def tar_of(files: Files) -> io.BytesIO:
    """A tar archive in the order of `files`; None is a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, Symlink):
                info.type, info.linkname = tarfile.SYMTYPE, content.target
            elif isinstance(content, HardLink):
                info.type, info.linkname = tarfile.LNKTYPE, content.target
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    stream.seek(0)
    return stream


def image_of(store: Store, *layers: Files, compression: Compression = Compression.GZIP) -> Image:
    """An image of `layers` from the lowest up."""
    made = [
        normalise(tar_of(files), store, epoch_s=EPOCH_S, compression=compression)
        for files in layers
    ]
    return Image(AMD64, {}, tuple(made))


def whole_image(folder: Path) -> tuple[Image, Store]:
    """Debian packages, wheels, the appliance and a model, a layer each."""
    store = Store(folder)
    return image_of(store, DEBIAN, wheels(*WHEELS), APPLIANCE, BUNDLE), store


def subject_of(content: bytes = b"manifest", tag: str = "3", name: str = "acme/phi3") -> Subject:
    """A subject whose digest is that of `content`."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Subject(name, tag, digest, EPOCH_S, "0.1.0")
