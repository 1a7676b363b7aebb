"""Values of --to and --tag."""

from pathlib import Path

import pytest

from build import destination
from build.destination import DockerArchive, Local, OciArchive, OciFolder, Reference
from build.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("local", Local()),
        ("oci:out/layout", OciFolder(Path("out/layout"))),
        ("oci:/srv/a:b", OciFolder(Path("/srv/a:b"))),
        ("oci-archive:phi3.tar", OciArchive(Path("phi3.tar"))),
        ("docker-archive:/srv/phi3.tar", DockerArchive(Path("/srv/phi3.tar"))),
    ],
)
def test_files_folders_and_the_machine_itself(text, expected):
    assert destination.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag"),
    [
        ("registry.example.com/acme/phi3", "registry.example.com", "acme/phi3", ""),
        ("registry.example.com:5000/phi3", "registry.example.com:5000", "phi3", ""),
        ("registry.example.com:5000/a/b/c:v1", "registry.example.com:5000", "a/b/c", "v1"),
        ("localhost/phi3", "localhost", "phi3", ""),
        ("localhost:5000/acme/phi3:3", "localhost:5000", "acme/phi3", "3"),
        ("127.0.0.1:5000/acme/phi3", "127.0.0.1:5000", "acme/phi3", ""),
        ("[::1]:5000/acme/phi3", "[::1]:5000", "acme/phi3", ""),
        ("registry:5000/phi3", "registry:5000", "phi3", ""),
        ("acme/phi3", "docker.io", "acme/phi3", ""),
        ("acme/phi3:3", "docker.io", "acme/phi3", "3"),
        ("phi3", "docker.io", "library/phi3", ""),
        ("docker.io/acme/phi3", "docker.io", "acme/phi3", ""),
        ("docker.io/phi3", "docker.io", "library/phi3", ""),
        ("index.docker.io/acme/phi3", "docker.io", "acme/phi3", ""),
        ("registry-1.docker.io/acme/phi3", "docker.io", "acme/phi3", ""),
        ("acme/a_b.c__d---e", "docker.io", "acme/a_b.c__d---e", ""),
    ],
)
def test_a_registry_is_named_as_docker_names_it(text, host, repository, tag):
    assert destination.parse(text) == Reference(host, repository, tag)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "./out",
        "/srv/out.tar",
        "Acme/phi3",
        "acme/Phi3",
        "acme//phi3",
        "acme/phi3/",
        "acme/phi3:",
        "acme/phi3:a b",
        "acme/phi3:" + "x" * 129,
        "acme/phi3:.x",
        "acme/phi3@sha256:" + "a" * 64,
        "acme/-phi3",
        "acme/phi3_",
        "acme/a___b",
        "registry.example.com:port/phi3",
        "registry.example.com/",
        "https://registry.example.com/phi3",
        "docker://registry.example.com/phi3",
        "registry.example.com/" + "a" * 255,
        "user:password@registry.example.com/phi3",
        "acme/phi3\n",
    ],
)
def test_what_is_no_destination_is_refused(text):
    with pytest.raises(UsageError) as caught:
        destination.parse(text)
    expected = (
        "oci-archive:FILE, oci:FOLDER, docker-archive:FILE, local, or a repository of a registry "
        "such as registry.example.com/acme/phi3"
    )
    assert str(caught.value) == f"destination is {text!r}, expected {expected}"


@pytest.mark.parametrize("text", ["oci:", "oci-archive:", "docker-archive:", "oci:.", "oci:/"])
def test_a_file_or_folder_has_a_name(text):
    kind = text.partition(":")[0]
    with pytest.raises(UsageError, match=f"expected a file or new folder after {kind}:"):
        destination.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme/phi3:3", Reference("", "acme/phi3", "3")),
        ("phi3:v1.0-rc_1", Reference("", "phi3", "v1.0-rc_1")),
        ("registry.example.com:5000/phi3:3", Reference("registry.example.com:5000", "phi3", "3")),
    ],
)
def test_a_tag_reads_back_as_it_was_written(text, expected):
    assert destination.parse_tag(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", "acme/phi3", ":3", "acme/phi3:", "Acme/phi3:3", "a:b:c"])
def test_what_is_no_tag_is_refused(text):
    with pytest.raises(UsageError) as caught:
        destination.parse_tag(text)
    assert str(caught.value) == f"tag is {text!r}, expected REPOSITORY:TAG such as acme/phi3:3"


def test_the_name_leaves_the_tag_out():
    assert Reference("docker.io", "acme/phi3", "3").name == "docker.io/acme/phi3"
    assert Reference("", "acme/phi3", "3").name == "acme/phi3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme/phi3:3", "docker.io/acme/phi3:3"),
        ("phi3:3", "docker.io/library/phi3:3"),
        ("localhost/phi3:3", "localhost/phi3:3"),
        ("registry.example.com/phi3:3", "registry.example.com/phi3:3"),
    ],
)
def test_the_absolute_name(text, expected):
    assert str(destination.absolute(destination.parse_tag(text))) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST:5000", True),
        ("registry.localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("10.0.0.1:5000", False),
        ("registry.example.com", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("[2001:db8::1]:5000", False),
    ],
)
def test_loopback(host, expected):
    assert destination.is_loopback(host) is expected


@pytest.mark.parametrize(
    "text", ["oci:dist/x", "oci-archive:x.tar", "docker-archive:x.tar", "local", "a.example/b/c"]
)
def test_a_destination_is_written_as_it_was_read(text):
    assert str(destination.parse(text)) == text
