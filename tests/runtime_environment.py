"""An environment of a wheel and of what the runtime requirements name, and of nothing else, made without a network."""

import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import run


def read_requirements(path: Path) -> list[str]:
    """The requirements of a file for pip, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def closure(requirements: list[str]) -> dict[str, Distribution]:
    """The installed distributions that some requirements lead to, as pip would find them, by name."""
    found: dict[str, Distribution] = {}
    done = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        key = canonicalize_name(one.name), tuple(sorted(one.extras))
        if key in done:
            continue
        done.add(key)
        installed = distribution(one.name)
        assert one.specifier.contains(installed.version, prereleases=True), (str(one), installed.version)
        found[key[0]] = installed
        needed = map(Requirement, installed.requires or [])
        extras = {"", *one.extras}
        waiting += [
            need for need in needed if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras)
        ]
    return found


def make_environment(folder: Path, wheel: Path, distributions: dict[str, Distribution]) -> Path:
    """Make a virtual environment with a wheel and links to installed distributions; returns its scripts' folder."""
    venv.create(folder, with_pip=False, symlinks=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = sys.executable, "-m", "pip", "--python", scripts / "python"
    run(*pip, "install", "--no-deps", "--no-compile", wheel, cwd=folder)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(scripts / "python", "-I", "-c", code, cwd=folder).strip())
    for one in distributions.values():
        # What lies beside the packages, such as scripts, is no part of an import.
        tops = {file.parts[0] for file in one.files or [] if file.parts[0] not in {"..", "__pycache__"}}
        for top in tops:
            link = packages / top
            if not link.exists():
                link.symlink_to(Path(str(one.locate_file(top))))
    return scripts
