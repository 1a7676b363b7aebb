"""Publishing: an image and the documents about it leave the store, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from build import destination, output
from build.destination import Destination, DockerArchive, Local, OciArchive, OciFolder, Reference
from build.errors import UsageError
from build.oci import archive, docker_archive, graph, layout, media, referrers
from build.oci.descriptor import Descriptor, Platform
from build.oci.store import Store, named
from build.progress import Progress
from build.registry.push import push
from build.registry.registry import Registry
from build.registry.session import Session

Load = Callable[[Path], object]  # gives a Docker archive to the container tool of this machine
_SILENT = Progress(enabled=False)


def check(
    target: Destination,
    *,
    tag: Reference | None = None,
    force: bool = False,
    insecure: bool = False,
) -> None:
    """Refuse, before any work is done, what `publish` would refuse after it.

    Raises `OutputRefused` for what is there already, `PublishFailed` for a registry that does not
    let us in, `UsageError` for two tags that differ.
    """
    if isinstance(target, OciFolder):
        output.check_layout(target.path, force=force)
    elif isinstance(target, OciArchive | DockerArchive):
        output.check_file(target.path, force=force)
    elif isinstance(target, Reference):
        if tag is not None:
            _tag(target, tag)
        Registry(Session(target, insecure=insecure), _SILENT).check()


def publish(
    store: Store,
    index: Descriptor,
    artifacts: Sequence[Descriptor],
    target: Destination,
    tag: Reference,
    *,
    platform: Platform | None = None,
    load: Load | None = None,
    force: bool = False,
    insecure: bool = False,
    progress: Progress = _SILENT,
) -> str:
    """Publish `index` and the `artifacts` about it as `tag`; returns where it is.

    `platform` chooses for destinations that hold one; `load` serves `local`. Raises `UsageError`,
    `OutputRefused`, `PublishFailed`, and `InvalidImage` for a store that lacks something.
    """
    if isinstance(target, Reference):
        registry = Registry(Session(target, insecure=insecure), progress)
        return push(registry, store, index, artifacts, _tag(target, tag))
    if isinstance(target, Local):
        return _load(store, choose(store, index, platform), tag, load)
    if isinstance(target, OciFolder):
        output.check_layout(target.path, force=force)
        offered = [_offered(index, tag), *_lists(store, artifacts)]
        with output.whole(target.path, replace=force) as made:
            layout.copy(store, made, offered)
        return f"{target.path}"
    output.check_file(target.path, force=force)
    with output.whole(target.path, replace=force) as made:
        if isinstance(target, OciArchive):
            archive.write(store, made, [_offered(index, tag)])
        else:
            docker_archive.write(store, choose(store, index, platform), str(tag), made)
    return f"{target.path}"


def choose(store: Store, index: Descriptor, asked: Platform | None = None) -> Descriptor:
    """The manifest for `asked`, else for this machine, else the only one; raises `UsageError`."""
    if index.media_type in media.MANIFESTS:
        return index
    manifests = graph.children(index, store.read_json(index))
    wanted = asked or Platform.of_machine()
    fitting = [one for one in manifests if one.platform and one.platform.fits(wanted)]
    if fitting:
        return fitting[0]
    if asked is None and len(manifests) == 1:
        return manifests[0]
    there = ", ".join(str(one.platform) for one in manifests)
    raise UsageError(f"platform is {wanted}, expected one that the image has: {there}")


def _tag(target: Reference, tag: Reference) -> str:
    if target.tag and target.tag != tag.tag:
        raise UsageError(f"tag is {tag.tag!r}, expected {target.tag!r} as in the destination")
    return tag.tag


def _load(store: Store, manifest: Descriptor, tag: Reference, load: Load | None) -> str:
    """Give one platform to the container tool; the archive lies beside the store meanwhile."""
    if load is None:
        raise UsageError("destination is 'local', expected a container tool that can load an image")
    with TemporaryDirectory(prefix=".load-", dir=store.folder) as work:
        path = Path(work) / "image.tar"
        docker_archive.write(store, manifest, str(tag), path)
        load(path)
    return str(tag)


def _offered(index: Descriptor, tag: Reference) -> Descriptor:
    """`index` under the names that the layout's readers look for."""
    offered = named(index, tag.tag)
    name = str(destination.absolute(tag))
    return replace(offered, annotations={**offered.annotations, media.CONTAINERD_NAME: name})


def _lists(store: Store, artifacts: Sequence[Descriptor]) -> list[Descriptor]:
    """The lists of `artifacts`, a list a subject, under their names."""
    return [
        named(store.put_json(referrers.merged((), found), media.INDEX), referrers.tag_of(subject))
        for subject, found in referrers.by_subject(artifacts, store)
    ]
