#!/bin/sh
# download.sh ARCH MACHINE OUT [pipeline]: everything that an image is made of, for the Debian architecture ARCH.
# OUT/tools/NATIVE: packages that this build needs itself; OUT/debian/ARCH, OUT/wheels/ARCH: what goes
# into the image; OUT/pipeline/ARCH, OUT/torch/ARCH: the wheels of its heavier variant. A folder that is
# there already, with its SHA256SUMS, is checked and kept: then no network is needed. /run/secrets may
# hold apt.conf, pip.conf and ca.pem for networks that need them.
set -eu
arch=$1 machine=$2 out=$3 variant=${4:-slim} here=$(cd "$(dirname "$0")" && pwd)
native=$(dpkg --print-architecture)

python=3.11
tools="python3 python3-pip-whl ca-certificates binutils-$(echo "$machine" | tr _ -)-linux-gnu"
runtime="python$python-minimal libpython$python-minimal libpython$python-stdlib
    libc6 gcc-12-base libgcc-s1 libstdc++6 libexpat1 zlib1g libffi8 libssl3"
numpy="python3-numpy libblas3 liblapack3 libgfortran5"
[ "$arch" != amd64 ] || numpy="$numpy libquadmath0"

export DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1
[ ! -s /run/secrets/apt.conf ] || export APT_CONFIG=/run/secrets/apt.conf
[ ! -s /run/secrets/pip.conf ] || export PIP_CONFIG_FILE=/run/secrets/pip.conf
[ ! -s /run/secrets/ca.pem ] || export PIP_CERT=/run/secrets/ca.pem SSL_CERT_FILE=/run/secrets/ca.pem

fail() { echo "download: $*" >&2; exit 1; }
[ "${TARGETARCH:-$arch}" = "$arch" ] ||
    fail "Dockerfile.$arch makes an image for linux/$arch, and this build is for linux/$TARGETARCH: say --platform linux/$arch"
is_whole() {  # is the folder $1 there, with every file as it was downloaded?
    [ -d "$1" ] || return 1
    (cd "$1" && sha256sum --quiet --strict -c SHA256SUMS >&2) || fail "$1 is not what was downloaded: fetch it again"
}
seal() { (cd "$1" && rm -rf partial lock && sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS); }
wheels() {  # the wheels of requirements/$2.txt in $out/$1/$arch
    ! is_whole "$out/$1/$arch" || return 0
    mkdir -p "$out/$1/$arch"
    python3 "$here/wheels.py" download --machine "$machine" --requirements "$here/../../requirements/$2.txt" "$out/$1/$arch" ||
        fail "pip cannot download what requirements/$2.txt locks: is there a network, a proxy or another index to name?"
    seal "$out/$1/$arch"
}
update() {
    [ -z "${updated:-}" ] || return 0
    [ "$arch" = "$native" ] || dpkg --add-architecture "$arch"
    apt-get -qq update || fail "apt-get cannot read the package lists: is there a network or a proxy to name?"
    updated=1
}

if ! is_whole "$out/tools/$native"; then
    update
    mkdir -p "$out/tools/$native/partial"
    # shellcheck disable=SC2086
    apt-get -qq install -y --no-install-recommends --download-only -o Dir::Cache::archives="$out/tools/$native" $tools
    seal "$out/tools/$native"
fi
apt-get -qq install -y --no-install-recommends "$out/tools/$native"/*.deb >/dev/null

if ! is_whole "$out/debian/$arch"; then
    update
    mkdir -p "$out/debian/$arch"
    # shellcheck disable=SC2046,SC2086
    (cd "$out/debian/$arch" && apt-get -qq -o APT::Sandbox::User=root download $(printf "%s:$arch " $runtime $numpy))
    seal "$out/debian/$arch"
fi

wheels wheels edge
if [ "$variant" = pipeline ]; then
    wheels pipeline pipeline
    wheels torch "torch-$arch"
fi
