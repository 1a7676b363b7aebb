"""What goes into the image and what of it is left out: patterns, each with its reason."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Set
from pathlib import Path

# {py} is the version of Python: 3.11.
SYSTEM_LEFT_OUT = (
    # documentation, translations, packaging
    "usr/share/{man,lintian,bug,applications,binfmts,pixmaps,gcc,gdb,locale,menu,info}",
    "usr/share/{python3,perl5,debhelper,dh-python}",
    "usr/lib/{valgrind,mime,debug}",
    "usr/include",
    "etc/*",
    # of libc: character set converters, auditing, profiling, name services beyond files and dns
    "usr/lib/*/{gconv,audit}",
    "usr/lib/*/lib{BrokenLocale,c_malloc_debug,memusage,pcprofile,thread_db,mvec,nsl,nss_hesiod}*",
    "usr/lib/*/libnss_compat*",
    # of OpenSSL: engines and providers that nothing loads
    "usr/lib/*/{engines-3,ossl-modules}",
    # of gcc: C++ pretty printers and link-time files
    "usr/share/gcc*",
    # Python: other people's tools, tests, user interfaces
    "usr/lib/python{py}/{lib2to3,idlelib,ensurepip,pydoc_data,turtledemo,tkinter,distutils,venv}",
    "usr/lib/python{py}/{test,unittest,sqlite3,curses,dbm,xmlrpc,msilib,lib-tk}",
    "usr/lib/python{py}/{turtle,pydoc,antigravity,this,cProfile,profile,pstats,doctest,pdb}.py",
    "usr/lib/python{py}/config-*",
    "usr/lib/python{py}/**/EXTERNALLY-MANAGED",
    "usr/lib/python{py}/lib-dynload/{_sqlite3,_curses,_curses_panel,_dbm,_gdbm,_tkinter}.*.so",
    "usr/lib/python{py}/lib-dynload/{readline,_bz2,_lzma,_uuid,_crypt,nis,ossaudiodev}.*.so",
    "usr/lib/python{py}/lib-dynload/{audioop,_codecs_*,_test*,_xxtest*,xx*}.*.so",
    "usr/{bin,sbin}/*",
    "usr/lib/python3",
    "usr/lib/python{py}/dist-packages",
)
SYSTEM_KEPT = ("usr/bin/python3.11",)

LIBRARIES_LEFT_OUT = (
    "bin",
    "share",
    # onnxruntime-genai opens the library by itself; the Python module is a second copy of it
    "onnxruntime/*",
    "{google,protobuf-*,protobuf*.dist-info,flatbuffers,flatbuffers-*,google/_upb}",
    "onnxruntime_genai/models",
    # headers, type stubs, tests
    "**/tests",
    "**/*.{pyi,a,pxd,h,pyx}",
    "numpy/{f2py,distutils,_pyinstaller,testing/_private,doc}",
    "numpy/{_core,core}/{include,lib}",
    "numpy/random/{lib,_examples}",
    "numpy/{_core,core}/{_simd,_operand_flag_tests,_rational_tests,_struct_ufunc_tests}.*.so",
    "numpy/{_core,core}/_umath_tests.*.so",
)
LIBRARIES_KEPT = (
    "onnxruntime/capi/libonnxruntime.so.*",
    "onnxruntime/{LICENSE,ThirdPartyNotices.txt}",
)


def remove(root: Path, patterns: Iterable[str], *, kept: Iterable[str] = (), **names: str) -> None:
    """Remove what `patterns` name below `root`, but for the paths that `kept` names."""
    spared = {parent for path in matches(root, kept) for parent in (path, *path.parents)}
    for path in matches(root, patterns, **names):
        if path in spared and path.is_dir():
            _empty(path, spared)
        elif path not in spared:
            _delete(path)


def matches(root: Path, patterns: Iterable[str], **names: str) -> list[Path]:
    """The paths below `root` that `patterns` name; `{a,b}` stands for either."""
    expanded = (one for pattern in patterns for one in alternatives(fill(pattern, names)))
    return sorted({path for pattern in expanded for path in root.glob(pattern)})


def fill(pattern: str, names: dict[str, str]) -> str:
    """`pattern` with each `{name}` of `names` replaced."""
    for name, value in names.items():
        pattern = pattern.replace("{" + name + "}", value)
    return pattern


def alternatives(pattern: str) -> list[str]:
    """`x{a,b}y` -> `xay`, `xby`; braces do not nest."""
    head, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    inside, _, tail = rest.partition("}")
    return [head + one + end for one in inside.split(",") for end in alternatives(tail)]


def _empty(folder: Path, spared: Set[Path]) -> None:
    for path in sorted(folder.iterdir()):
        if path not in spared:
            _delete(path)
        elif path.is_dir():
            _empty(path, spared)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
