"""A real conda and a channel for it, for tests, made of PyPI's packages and of this machine's Python.

conda comes out of conda-lock's wheel, which brings the whole of conda 24.7.1 along, the oldest that Snakemake takes.
The channel stands in for conda-forge: `conda-forge` in an environment file leads to it. It has what our files name
outside their pip sections: `python` is a copy of the interpreter that runs the tests, `pip` is PyPI's, and
`cxx-compiler` is empty, the machine's own compiler standing in.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

CONDA_LOCK = "conda-lock==4.0.3"
PIP = "pip==25.3"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
REQUIREMENTS = Path(__file__).with_name("conda-requirements.txt")
VENDORED = "conda_lock/_vendor/conda/"

CONDA_PROGRAM = """\
#!{python}
import sys
from conda.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""
CONDA_SETTINGS = """\
solver: classic
channel_alias: file://{channels}
channels: []
default_channels: []
always_yes: true
auto_update_conda: false
notify_outdated_conda: false
number_channel_notices: 0
report_errors: false
"""
# Snakemake sources this file; the one that a venv has there knows nothing of other environments
ACTIVATE = """\
_activation="$("{conda}" shell.posix activate "$@")" || return 1
eval "$_activation"
unset _activation
"""


def make_conda(destination: Path, channels: Path) -> Path:
    """Set conda up in a folder and return the folder to put on the PATH.

    Args:
        destination: folder that does not exist yet.
        channels: folder of the channels that environment files name.
    """
    subprocess.run([sys.executable, "-m", "venv", destination], check=True)
    python = destination / "bin" / "python"
    pip_install(python, "--requirement", str(REQUIREMENTS))
    packages = destination / "lib" / PYTHON / "site-packages"
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, CONDA_LOCK]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(VENDORED) and not name.endswith("/"):
                    path = packages / "conda" / name.removeprefix(VENDORED)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(name).replace(b"conda_lock._vendor.", b""))
    (destination / "conda-meta").mkdir()
    (destination / "conda-meta" / "history").touch()
    (destination / ".condarc").write_text(CONDA_SETTINGS.format(channels=channels))
    program = destination / "bin" / "conda"
    program.write_text(CONDA_PROGRAM.format(python=python))
    program.chmod(0o755)
    (destination / "bin" / "activate").write_text(ACTIVATE.format(conda=program))
    (destination / "condabin").mkdir()
    (destination / "condabin" / "conda").symlink_to(program)
    return destination / "condabin"


def pip_install(python: Path | str, *arguments: str) -> None:
    """Install with pip."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def make_channel(channel: Path, patchelf: Path) -> None:
    """Build the channel.

    Args:
        channel: its folder.
        patchelf: that program.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy_python(Path(folder), patchelf)
        version = sys.version.split()[0]
        entries = [pack(channel / "linux-64", Path(folder), name="python", version=version, subdir="linux-64")]
    with tempfile.TemporaryDirectory() as folder:
        pip_install(sys.executable, "--no-deps", "--no-compile", "--target", f"{folder}/site-packages", PIP)
        shutil.rmtree(Path(folder, "site-packages", "bin"))
        version = PIP.partition("==")[2]
        about = {"name": "pip", "version": version, "subdir": "noarch", "noarch": "python", "depends": ["python >=3"]}
        entries.append(pack(channel / "noarch", Path(folder), **about))
    with tempfile.TemporaryDirectory() as folder:
        about = {"name": "cxx-compiler", "version": "1.0", "subdir": "noarch", "noarch": "generic"}
        entries.append(pack(channel / "noarch", Path(folder), **about))
    for subdir in ("noarch", "linux-64"):
        packages = {name: index for name, index in entries if index["subdir"] == subdir}
        document = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
        (channel / subdir / "repodata.json").write_text(json.dumps(document))


def copy_python(destination: Path, patchelf: Path) -> None:
    """Copy the interpreter that runs this, without its site-packages, so that it works in any folder."""
    base = Path(sys.base_prefix)
    program = destination / "bin" / PYTHON
    program.parent.mkdir()
    shutil.copy2(base / "bin" / PYTHON, program)
    for name in ("python", "python3"):
        (destination / "bin" / name).symlink_to(PYTHON)
    left_out = ("test", "tests", "__pycache__", "site-packages", "idlelib", "turtledemo", "config-*", "tkinter")
    ignored = shutil.ignore_patterns(*left_out)
    shutil.copytree(base / "lib" / PYTHON, destination / "lib" / PYTHON, symlinks=True, ignore=ignored)
    shutil.copytree(base / "include" / PYTHON, destination / "include" / PYTHON)
    (destination / "lib" / PYTHON / "site-packages").mkdir()
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy2(library, destination / "lib" / library.name, follow_symlinks=False)
    subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", program], check=True)


def pack(platform: Path, files: Path, **about: object) -> tuple[str, dict]:
    """Write a package; return its file name and its entry in the channel's index.

    Args:
        platform: the channel's folder of one platform.
        files: what the package installs.
        about: name, version and so on, as in a package's index.json.
    """
    index = {"build": "0", "build_number": 0, "depends": [], "license": "none"} | about
    paths = sorted(path for path in files.rglob("*") if path.is_symlink() or path.is_file())
    described = [describe(path, files) for path in paths]
    info = {
        "index.json": json.dumps(index),
        "paths.json": json.dumps({"paths_version": 1, "paths": described}),
        "files": "".join(f"{entry['_path']}\n" for entry in described),
    }
    if index.get("noarch") == "python":
        info["link.json"] = json.dumps({"noarch": {"type": "python"}, "package_metadata_version": 1})
    platform.mkdir(parents=True, exist_ok=True)
    package = platform / f"{index['name']}-{index['version']}-{index['build']}.tar.bz2"
    with tarfile.open(package, "w:bz2", compresslevel=1) as tar:
        for name, text in info.items():
            member = tarfile.TarInfo(f"info/{name}")
            member.size = len(text.encode())
            tar.addfile(member, BytesIO(text.encode()))
        for path in paths:
            tar.add(path, arcname=path.relative_to(files).as_posix())
    content = package.read_bytes()
    sums = {name: hashlib.new(name, content).hexdigest() for name in ("md5", "sha256")}
    return package.name, index | sums | {"size": len(content)}


def describe(path: Path, root: Path) -> dict:
    """Return a file's entry in a package's paths.json."""
    content = path.read_bytes() if path.exists() else b""
    return {
        "_path": path.relative_to(root).as_posix(),
        "path_type": "softlink" if path.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_in_bytes": len(content),
    }
