#!/usr/bin/env python3
"""Wheel and source distribution of the Python package, as PEP 517 asks for them.  It needs make and Python alone.

    python3 bindings/python/consistency_build.py wheel|sdist|metadata [--bundle all|none] [--dist DIR] [--library FILE]

pip calls the functions at the end: `pip install .` in the tree, or of the archive that `make dist` writes, builds the library
with make and leaves the libraries that it needs where the system has them.  `make wheel` bundles them (--bundle all), so that
the wheel runs on any Linux with the C library that its tag names and a C++ library of the same age.

What is bundled stands in libconsistency.libs beside the package.  The first three letters of its name, "lib", become "cm-", in
the file and wherever it is referred to: the loader takes the first library of a name that a process has loaded for all that ask
for this name, so numpy's OpenMP or Pillow's libjpeg would otherwise be ours, or the other way round."""

import argparse
import base64
import glob
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = "libconsistency"
FOLDER = NAME + ".libs"
# What every Linux has: the C library, the C++ library and zlib, as the manylinux policies list them.
SYSTEM = re.compile(r"(linux-vdso|ld-linux-x86-64|libc|libm|libmvec|libdl|librt|libpthread|libresolv|libutil|libstdc\+\+|libgcc_s|libz)\.so(\.\d+)?$")
# The newest C++ library that goes with a C library, as the manylinux policies have them: (GLIBCXX_3.4.X, GLIBC_2.Y).
AGES = ((19, 17), (22, 24), (24, 27), (28, 31), (29, 34), (30, 35), (33, 39), (34, 42))


def _read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def version():
    header = _read("include/consistency/base.h")
    return ".".join(re.search(r"define CM_VERSION_%s +(\d+)" % part, header).group(1) for part in ("MAJOR", "MINOR", "PATCH"))


def metadata():
    return """Metadata-Version: 2.1
Name: %s
Version: %s
Summary: Images from consistency models: sampling, editing and training on the CPU
License: MIT
Platform: linux_x86_64
Classifier: License :: OSI Approved :: MIT License
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: C
Classifier: Programming Language :: Python :: 3
Classifier: Topic :: Scientific/Engineering :: Artificial Intelligence
Classifier: Typing :: Typed
Requires-Python: >=3.9
Provides-Extra: numpy
Requires-Dist: numpy; extra == "numpy"
Provides-Extra: pillow
Requires-Dist: Pillow; extra == "pillow"
Provides-Extra: tqdm
Requires-Dist: tqdm; extra == "tqdm"
Description-Content-Type: text/markdown

%s""" % (NAME, version(), _read("README.md"))


def _git(*arguments):
    """What git says of the tree; None where there is no git, no clone, or one of another user."""
    if not os.path.exists(os.path.join(TOP, ".git")) or not shutil.which("git"):
        return None
    done = subprocess.run(("git",) + arguments, cwd=TOP, capture_output=True)
    return done.stdout if done.returncode == 0 else None


def _moment():
    """Seconds that stand in archives: SOURCE_DATE_EPOCH, else those of the commit, else those of 1980."""
    return max(int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or 0), 315532800)


# --- shared objects ---------------------------------------------------------------------------------


def _renamed(name):
    return "cm-" + name[3:] if name.startswith("lib") else name


def needed(path):
    """The names under NEEDED of a shared object, and its RPATH."""
    said = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", said), re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", said)


def _found(path):
    """Name and file of each library that is loaded with a shared object, but for the system's."""
    said = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    if "not found" in said:
        raise SystemExit("%s needs what is not there:\n%s" % (path, said))
    return sorted((name, file) for name, file in re.findall(r"^\s*(\S+) => (\S+)", said, re.M) if not SYSTEM.match(name))


def _rename(path, names):
    """Gives libraries their new names in the string table of a shared object; the length stays."""
    with open(path, "rb") as f:
        data = f.read()
    for name in names:
        data = data.replace(b"\0" + name.encode() + b"\0", b"\0" + _renamed(name).encode() + b"\0")
    with open(path, "wb") as f:
        f.write(data)
    left = [name for name in needed(path)[0] if name in names]
    if left:
        raise SystemExit("%s still asks for %s" % (path, ", ".join(left)))


def glibc(paths):
    """The minor version of the C library 2.x that these shared objects take."""
    low = 17
    for path in paths:
        said = subprocess.run(["readelf", "-VW", path], capture_output=True, text=True, check=True).stdout
        low = max([low] + [int(v) for v in re.findall(r"Name: GLIBC_2\.(\d+)", said)])
        for age in map(int, re.findall(r"Name: GLIBCXX_3\.4\.(\d+)", said)):
            low = max(low, min([c for x, c in AGES if x >= age] or [AGES[-1][1] + 1]))
    return low


def _licence(path):
    """The copyright file of the Debian package that a library is of."""
    for name in (path, os.path.realpath(path), re.sub("^/usr", "", os.path.realpath(path))):
        said = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True).stdout if shutil.which("dpkg") else ""
        file = "/usr/share/doc/%s/copyright" % said.split(":")[0].strip()
        if said and os.path.exists(file):
            return file
    return None


def _bundle(library, folder):
    """Copies what the library needs and renames it; returns licences by the names of the files."""
    found, licences = _found(library), {}
    names = [name for name, _ in found]
    for name, file in found:
        copy = os.path.join(folder, _renamed(name))
        shutil.copyfile(os.path.realpath(file), copy)
        subprocess.run(["strip", "--strip-unneeded", copy], check=True)
        _rename(copy, names)
        licence = _licence(file)
        if licence:
            licences["licenses/%s.txt" % name] = licence
    _rename(library, names)
    return licences


# --- wheel -------------------------------------------------------------------------------------------


def _make(target):
    subprocess.run([os.environ.get("MAKE", "make"), "-s", "-j%d" % (os.cpu_count() or 1), target], cwd=TOP, check=True, stdout=sys.stderr)
    return os.path.join(TOP, target)


def _pack(path, members, record):
    """A zip whose bytes depend on the members alone; members: name -> (content, is it to be executed)."""
    lines = []
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(members, key=lambda n: (".dist-info/" in n, n)) + [record]:
            if name == record:
                content, mode = ("\n".join(lines) + "\n%s,,\n" % record).encode(), 0o644
            else:
                content, mode = members[name]
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                lines.append("%s,sha256=%s,%d" % (name, digest, len(content)))
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def wheel(dist, bundle, library=None):
    """Writes the wheel into the folder dist and returns its name.  library: the one that make has made; else make is called."""
    soname = "libconsistency.so." + version().split(".")[0]
    made = library or _make("build/wheel/" + soname if bundle == "all" else "build/lib/libconsistency.so." + version())
    info, members = "%s-%s.dist-info/" % (NAME, version()), {}
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, soname)
        shutil.copyfile(made, library)
        subprocess.run(["strip", "--strip-unneeded", library], check=True)
        objects, licences = {"consistency/" + soname: library}, {"licenses/LICENSE": os.path.join(TOP, "LICENSE")}
        tag = "linux_x86_64"
        if bundle == "all":
            libs = os.path.join(folder, FOLDER)
            os.mkdir(libs)
            licences.update(_bundle(library, libs))
            objects.update({FOLDER + "/" + name: os.path.join(libs, name) for name in os.listdir(libs)})
            tag = "manylinux_2_%d_x86_64" % glibc(objects.values())
        for name, path in list(objects.items()) + [(info + name, path) for name, path in licences.items()]:
            with open(path, "rb") as f:
                members[name] = (f.read(), 0o755 if name in objects else 0o644)
    sources = os.path.join(TOP, "bindings/python")
    for path in sorted(glob.glob(sources + "/consistency/*.py")) + [sources + "/consistency/py.typed"]:
        with open(path, "rb") as f:
            members[os.path.relpath(path, sources)] = (f.read(), 0o644)
    members[info + "METADATA"] = (metadata().encode(), 0o644)
    members[info + "WHEEL"] = (("Wheel-Version: 1.0\nGenerator: %s\nRoot-Is-Purelib: false\nTag: py3-none-%s\n" % (NAME, tag)).encode(), 0o644)
    members[info + "top_level.txt"] = (b"consistency\n", 0o644)
    name = "%s-%s-py3-none-%s.whl" % (NAME, version(), tag)
    os.makedirs(dist, exist_ok=True)
    _pack(os.path.join(dist, name), members, info + "RECORD")
    return name


# --- the source ----------------------------------------------------------------------------------------


def _tree():
    """A tar of what is committed; outside of a clone of what is there."""
    prefix = "%s-%s" % (NAME, version())
    committed = _git("archive", "--format=tar", "--prefix=%s/" % prefix, "HEAD")
    if committed is not None:
        return committed
    if os.path.exists(os.path.join(TOP, ".git")):
        print("%s: git does not say what is committed (is the folder another user's?), so all that lies there is taken" % TOP, file=sys.stderr)
    plain, moment = io.BytesIO(), _moment()

    def entry(member):
        parts = member.name.split("/")[1:]
        if parts[:1] in (["build"], ["dist"], [".git"]) or "__pycache__" in parts or parts == ["PKG-INFO"]:
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = moment
        return member
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(TOP, prefix, filter=entry)
    return plain.getvalue()


def sdist(dist):
    """Writes the source as .tar.gz into the folder dist and returns its name: what is committed, and PKG-INFO.  Its bytes depend on
    the commit alone."""
    plain, moment = io.BytesIO(_tree()), _moment()
    with tarfile.open(fileobj=plain, mode="a", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("%s-%s/PKG-INFO" % (NAME, version()))
        content = metadata().encode()
        entry.size, entry.mtime, entry.mode, entry.uname, entry.gname = len(content), moment, 0o644, "root", "root"
        archive.addfile(entry, io.BytesIO(content))
    name = "%s-%s.tar.gz" % (NAME, version())
    os.makedirs(dist, exist_ok=True)
    with open(os.path.join(dist, name), "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=moment) as packed:
        packed.write(plain.getvalue())
    return name


# --- what pip calls --------------------------------------------------------------------------------------


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(wheel_directory, (config_settings or {}).get("bundle", "none"))


def build_sdist(sdist_directory, config_settings=None):
    return sdist(sdist_directory)


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["wheel", "sdist", "metadata"])
    parser.add_argument("--bundle", choices=["all", "none"], default="all")
    parser.add_argument("--dist", default=os.path.join(TOP, "dist"))
    parser.add_argument("--library")
    given = parser.parse_args()
    if given.what == "metadata":
        sys.stdout.write(metadata())
    else:
        name = wheel(given.dist, given.bundle, given.library) if given.what == "wheel" else sdist(given.dist)
        print(os.path.join(os.path.relpath(given.dist), name))


if __name__ == "__main__":
    main()
