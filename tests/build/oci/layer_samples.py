"""Tars and images for the tests of the image files: small ones, and some that lie."""

import hashlib
import io
import tarfile

from build.oci import image, layer, media
from build.oci.compression import Compression
from build.oci.descriptor import Descriptor, Platform
from build.oci.image import Image
from build.oci.layer import Layer
from build.oci.store import Store

EPOCH_S = 1_700_000_000
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
CONFIG = {
    "config": {
        "Entrypoint": ["/bin/serve"],
        "Healthcheck": {"Test": ["CMD", "/bin/probe"], "Interval": 30_000_000_000},
        "StopSignal": "SIGTERM",
    }
}


def file(path, content=b"", *, mode=0o644, uid=0, gid=0, mtime=1, pax=None, kind=tarfile.REGTYPE):
    """An entry with content."""
    info = entry(path, kind, mode=mode, uid=uid, gid=gid, mtime=mtime)
    info.size, info.pax_headers = len(content), pax or {}
    return info, content


def folder(path, *, mode=0o755, mtime=1):
    return entry(path, tarfile.DIRTYPE, mode=mode, mtime=mtime), None


def symlink(path, target):
    return entry(path, tarfile.SYMTYPE, mode=0o777, target=target), None


def hard_link(path, target):
    return entry(path, tarfile.LNKTYPE, target=target), None


def entry(path, kind, *, mode=0o644, uid=0, gid=0, mtime=1, target=""):
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, uid, gid, mtime
    info.uname, info.gname, info.linkname = "ada", "staff", target
    return info


def tar(*entries, format=tarfile.PAX_FORMAT):
    """The bytes of a tar with `entries` in this order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, errors="surrogateescape") as archive:
        for info, content in entries:
            archive.addfile(info, None if content is None else io.BytesIO(content))
    return out.getvalue()


def digest(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def normalised(store: Store, content: bytes, compression=Compression.NONE, **options) -> Layer:
    return layer.normalise(
        io.BytesIO(content), store, epoch_s=EPOCH_S, compression=compression, **options
    )


def listing(store: Store, found: Layer) -> list[tuple[str, bytes | None]]:
    """Paths and contents of a layer, in its order."""
    entries = layer.entries(store, found.descriptor)
    return [(info.name, stream.read() if stream else None) for info, stream in entries]


def write_image(
    store: Store, platform=AMD64, *files, compression=Compression.GZIP, created_s=EPOCH_S
) -> Descriptor:
    """An image of a layer with `files` and one that all platforms share."""
    shared = normalised(store, tar(file("model/weights", b"w" * 5000)), compression)
    own = normalised(store, tar(*(files or (file("arch", str(platform).encode()),))), compression)
    made = Image(platform, CONFIG, (own, shared), ("runtime", "weights"))
    return image.write(made, store, epoch_s=created_s)


def write_index(store: Store, *platforms, compression=Compression.GZIP) -> Descriptor:
    made = [write_image(store, one, compression=compression) for one in platforms or (AMD64, ARM64)]
    return image.join(made, store, {"note": "a test"})


def artifact(store, subject, name="sbom"):
    """An artifact about `subject`, as `build.attest` makes them."""
    value = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": "application/spdx+json",
        "config": store.put(b"{}", media.EMPTY_JSON).as_json(),
        "layers": [store.put(name.encode(), "application/spdx+json").as_json()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size_bytes).as_json(),
    }
    return store.put_json(
        value, media.MANIFEST, artifact_type="application/spdx+json", annotations={"name": name}
    )
