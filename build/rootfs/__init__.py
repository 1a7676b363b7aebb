"""Assembles the appliance's root file system inside the image build; standard library only.

`Dockerfile.amd64` and `Dockerfile.arm64` run `download.sh` and then `python3 -m build.rootfs` in a
container of the build machine's own architecture. Files of the target architecture are unpacked
and never run, so that no emulation is needed.
"""
