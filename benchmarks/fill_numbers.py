"""Write the numbers of the artefacts into the documentation, and find what does not stand in one.

    python benchmarks/fill_numbers.py            # after anything below results/ has changed
    python benchmarks/fill_numbers.py --check    # changes nothing; the exit code is 1 if there is anything to do

Comments that no page shows say what belongs where; `references.py` explains references, `filled_tables.py` tables:

    <!-- n: lgg_flair; PatchGan; image_AUROC; mean -->0.898<!-- /n -->      a number in a sentence
    <!-- table: ablation --> ... <!-- /table -->                            a table of `tables.yaml`
    <!-- holds: lgg_flair; !PatchGan; image_AUROC; difference_high < 0 -->  what the sentence before it claims

The last two stand on lines of their own, the first never begins a line. Numbers and tables follow the artefacts. Claims
that no longer hold, references to nothing and measured numbers without one are named with file and line.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from filled_tables import table
from hand_typed import hand_typed
from references import contradictions, value_text

from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line
from anomalib_patchgan.files import write_atomically

# What is quoted as code comes first, so that a marker in it stays an example.
MARKER = re.compile(
    r"^ *(?P<fence>```+|~~~+).*?^ *(?P=fence)|(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=ticks)(?!`)"
    r"|<!-- n: (?P<n>(?:(?!-->).)+) -->(?P<stands>[^<]*)<!-- /n -->"
    r"|<!-- table: (?P<table>(?:(?!-->).)+) -->(?P<body>(?:(?!<!--).)*)<!-- /table -->"
    r"|<!-- holds: (?P<holds>(?:(?!-->).)+) -->"
    r"|(?P<stray><!--\W*(?:n|holds|table)\b[^\n]*)",
    re.DOTALL | re.MULTILINE,
)
Problem = tuple[int, str]


def documents(root: Path) -> list[Path]:
    """Return the files in which measured numbers may stand."""
    return sorted([*root.glob("*.md"), root / "benchmarks" / "README.md", *root.glob("anomalib_patchgan/**/*.md")])


def fill(text: str, folder: Path) -> tuple[str, list[Problem]]:
    """Bring the numbers and tables of a text up to date.

    Args:
        text: Markdown.
        folder: `benchmarks/`, with `results/`, `published.yaml` and `tables.yaml`.

    Returns:
        The text as it should be, and line and message of all that is wrong in the old one: the numbers and tables that
        the new one has right, claims that do not hold, references to nothing and broken markers.
    """
    problems: list[Problem] = []

    def should_be(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 1
        try:
            if match["n"]:
                value = value_text(folder, match["n"])
                if " ".join(match["stands"].split()) == value:  # a line may have been broken in it
                    return match[0]
                problems.append((line, f"{match['n']} is '{value}', but '{match['stands']}' stands here"))
                return f"<!-- n: {match['n']} -->{value}<!-- /n -->"
            if match["table"]:
                made, body = table(folder, match["table"]), match["body"].strip()
                for row, (new, old) in enumerate(zip_longest(made.splitlines(), body.splitlines())):
                    if new != old:
                        problems.append(
                            (line + 2 + row, f"table {match['table']}: '{new}' should stand here, not '{old}'")
                        )
                return f"<!-- table: {match['table']} -->\n\n{made}\n\n<!-- /table -->"
            if match["holds"]:
                problems.extend(
                    (line, f"this no longer holds: {found}") for found in contradictions(folder, match["holds"])
                )
            if match["stray"]:
                msg = f"'{match['stray']}' is no whole marker: see benchmarks/fill_numbers.py for the forms."
                raise ConfigurationError(msg)
        except PatchGanError as error:
            problems.append((line, one_line(error)))
        return match[0]

    return MARKER.sub(should_be, text), problems


def problems_of(path: Path, text: str, folder: Path) -> list[Problem]:
    """Return line and message of all that is wrong in a file."""
    problems = fill(text, folder)[1] + hand_typed(text)
    if path.name == "CHANGELOG.md" and "<!-- n:" in text:
        problems.append((1, "a changelog must not change with an artefact: say it without the number"))
    return sorted(problems)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the files unless told not to, and name what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="of the clone")
    args = parser.parse_args(arguments)

    clean = True
    for path in documents(args.root):
        text = path.read_text(encoding="utf-8")
        filled = fill(text, args.root / "benchmarks")[0]
        if filled != text and not args.check:
            write_atomically(path, filled.encode())
            print(f"{path.relative_to(args.root)}: brought up to date")
            text = filled
        for line, message in problems_of(path, text, args.root / "benchmarks"):
            print(f"{path.relative_to(args.root)}:{line}: {message}", file=sys.stderr)
            clean = False
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
