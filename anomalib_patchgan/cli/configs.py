"""`anomalib-patchgan configs`: lists, prints and copies the configuration files that come with the package.

Imports nothing but Python's own library: it prints what to install to an environment that holds nothing yet.
"""

import argparse
import re
import sys
from importlib.resources import files
from pathlib import Path

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.files import write_atomically

# Configurations, and what pip is to install where models only run.
_ENDINGS = (".yaml", ".txt")


def configs_folder() -> Path:
    """Return the folder of the shipped configuration files.

    Raises:
        ConfigurationError: If the installation carries none.

    Example:
        >>> from anomalib_patchgan.cli.configs import configs_folder
        >>> configs_folder().is_dir()
        True
    """
    package = Path(str(files("anomalib_patchgan")))
    # A wheel carries the folder inside the package; a clone keeps it beside the package.
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return folder
    msg = f"no configs folder in {package} nor beside it; reinstall: pip install --force-reinstall anomalib-patchgan."
    raise ConfigurationError(msg)


def list_configs() -> dict[str, str]:
    """Return the shipped configurations: name to the first comment line of the file.

    Raises:
        ConfigurationError: If the installation carries no configurations.

    Example:
        >>> from anomalib_patchgan.cli.configs import list_configs
        >>> "quickstart" in list_configs()
        True
    """
    folder = configs_folder()
    return {path.relative_to(folder).with_suffix("").as_posix(): _first_comment(path) for path in _shipped(folder)}


def find_config(name: str) -> Path:
    """Return the path of a shipped configuration.

    Args:
        name: As listed, such as `model/patchgan`; the ending of the file is allowed.

    Raises:
        ConfigurationError: If no configuration has this name.

    Example:
        >>> from anomalib_patchgan.cli.configs import find_config
        >>> find_config("quickstart").name
        'quickstart.yaml'
    """
    folder = configs_folder()
    known = {path.relative_to(folder): path for path in _shipped(folder)}
    for relative, path in known.items():
        if name in {relative.as_posix(), relative.with_suffix("").as_posix()}:
            return path
    msg = f"no configuration named {name!r}; there are: {', '.join(list_configs())}"
    raise ConfigurationError(msg)


def read_config(name: str) -> str:
    """Return the text of a shipped configuration with the configurations that it includes in it.

    `model: ../model/patchgan_paper.yaml` means that file only where it lies; a copy elsewhere has to hold all of it.

    Args:
        name: As listed, such as `experiment/isic2016_paper`.

    Raises:
        ConfigurationError: If no configuration has this name.

    Example:
        >>> from anomalib_patchgan.cli.configs import read_config
        >>> "class_path: anomalib_patchgan.PatchGan" in read_config("experiment/isic2016_paper")
        True
    """
    path = find_config(name)

    def inline(include: re.Match[str]) -> str:
        indent, key, file = include.groups()
        lines = (path.parent / file).read_text(encoding="utf-8").splitlines()
        return "\n".join([f"{indent}{key}: # {file}", *(f"{indent}  {line}".rstrip() for line in lines)])

    return re.sub(r"^( *)(\w+): (\.\.?/\S+\.yaml)$", inline, path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def copy_config(name: str, folder: Path, *, force: bool = False) -> Path:
    """Copy a shipped configuration into a folder, which is made if it does not exist.

    Args:
        name: As listed, such as `model/patchgan`.
        folder: Where the file goes, under its own name (`patchgan.yaml`).
        force: Overwrite a file of that name.

    Returns:
        The path of the copy.

    Raises:
        ConfigurationError: If the name is unknown, the target exists and `force` is off, or it cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from anomalib_patchgan.cli.configs import copy_config
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     copy_config("quickstart", Path(folder)).name
        'quickstart.yaml'
    """
    target = folder / find_config(name).name
    if target.exists() and not force:
        msg = f"{target} exists already; pass --force to overwrite it, or another folder after --copy."
        raise ConfigurationError(msg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(target, read_config(name).encode())
    except OSError as error:
        msg = f"cannot write {target}: {error.strerror}; pass another folder after --copy."
        raise ConfigurationError(msg) from error
    return target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument("name", nargs="?", metavar="NAME", help="configuration to print; without it, all are listed")
    parser.add_argument(
        "--copy",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FOLDER",
        help="copy it to FOLDER (default: the current one)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(args: argparse.Namespace) -> int:
    """Run the command: list all configurations, print one, or copy one.

    Args:
        args: The options.

    Returns:
        The exit code, 0.

    Raises:
        ConfigurationError: If there is something to copy or overwrite but no name, or the copy fails.

    Example:
        >>> from anomalib_patchgan.cli.configs import run
        >>> run(argparse.Namespace(name=None, copy=None, force=False))  # doctest: +ELLIPSIS
        quickstart...
    """
    if args.name is None:
        if args.copy is not None or args.force:
            msg = "--copy and --force need the name of a configuration: anomalib-patchgan configs NAME --copy [FOLDER]."
            raise ConfigurationError(msg)
        configs = list_configs()
        width = max(map(len, configs), default=0)
        sys.stdout.writelines(f"{config:<{width}}  {comment}".rstrip() + "\n" for config, comment in configs.items())
    elif args.copy is None:
        sys.stdout.write(read_config(args.name))
    else:
        sys.stdout.write(f"{copy_config(args.name, args.copy, force=args.force)}\n")
    return 0


def _shipped(folder: Path) -> list[Path]:
    """Return the files that come with the package, those of the folder itself first."""
    paths = [path for path in folder.rglob("*") if path.suffix in _ENDINGS]
    return sorted(paths, key=lambda path: (len(path.relative_to(folder).parts), path))


def _first_comment(path: Path) -> str:
    """Return the text of the first comment line of a file, or nothing."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ").rstrip() for line in lines if line.startswith("#")), "")
