"""Runs `anomalib-patchgan volume` in this process."""

from pathlib import Path

from anomalib_patchgan.cli import main


def volume(model: Path, source: str | Path | list[str | Path], out: str | Path, *more: str) -> int:
    """Run the command, and return its exit code.

    Args:
        model: What `--model` gets.
        source: What `--input` gets, one or several.
        out: What `--out` gets.
        more: Further options.
    """
    sources = source if isinstance(source, list) else [source]
    return main(["volume", "--model", str(model), "--input", *map(str, sources), "--out", str(out), *more])
