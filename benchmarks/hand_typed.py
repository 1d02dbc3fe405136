"""Find measured numbers in Markdown that no reference stands behind.

What counts is what a page shows: text in markers is filled in by `fill_numbers.py`, and code, in which settings are
quoted, link targets and comments are left out.
"""

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

# What is no measurement although it looks like one, and why.
ALLOWED = {
    "arXiv 2501.17906": "identifier of a paper",
    "arXiv 1802.09088": "identifier of a paper",
    "Apache-2.0": "name of a licence",
    "Python 3.10": "lowest version",
    "2.7 series": "versions of anomalib",
}

MARKDOWN = MarkdownIt("commonmark").enable("table")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
FILLED = "\N{REPLACEMENT CHARACTER}"  # what a marker holds, while a text is looked at
UNITS = (
    r"%|‰|per ?cent|pp|percentage points?|[nµm]?s|sec|seconds?|min|minutes?|h|hours?|days?|[kKMGT]?i?B|bytes"
    r"|[MGT]?FLOPs?(?:/s)?|images/s|fps|[kMG]?Hz|mm|times|-?fold|x"
    "|\N{MULTIPLICATION SIGN}(?! ?\\d)"  # but not between two numbers
)
COUNTED = "patients|subjects|cases|slices|images|photographs|tiles|files|voxels|parameters"
METRICS = r"AUROC|AUC|AP|AUPRO|Dice|F1|TPR|FPR|accuracy|sensitivity|specificity|precision|recall"
MEASURED = re.compile(
    rf"(?<![\w.])(?:\d*[.·]\d+(?![\w.]*\.\d)"  # 0.9 and .9, but not 1.2.3
    rf"|\d+(?:\.\d+)?e[+-]?\d+|\d+,\d+"  # 1e-3, and 1,234 as well as 0,9
    rf"|\d+(?:[\s-]|\N{{NO-BREAK SPACE}})?(?:{UNITS})(?!\w))"
    rf"|(?<![\w.\N{{MULTIPLICATION SIGN}}])\d+\s(?:[\w-]+\s)?(?:{COUNTED})\b"
    rf"|\b(?:{METRICS})(?:\s(?:of|is|was|to|by|at|reaches))?\s[-+]?\d+|\d\s(?:\w+\s)?(?:{METRICS})\b"
    rf"|[\d.,]{FILLED}|{FILLED}[.,]?\d",  # a digit beside a marker
    re.IGNORECASE,
)


def hand_typed(text: str) -> list[tuple[int, str]]:
    r"""Return line and message of every measured number outside a marker, and of markers that spoil the page.

    Args:
        text: Markdown.

    Example:
        >>> hand_typed("Python `3.10`, <!-- n: a; b; c -->0.9<!-- /n --> and\n0.8")
        [(2, "'0.8' is typed by hand: take it from an artefact (benchmarks/fill_numbers.py); a setting goes in `code`")]
    """
    found = []
    in_table = False
    for token in MARKDOWN.parse(text):
        if token.type == "html_block":
            in_table = (in_table or "<!-- table:" in token.content) and "<!-- /table" not in token.content
            shown = COMMENT.sub("", token.content)
            if shown.strip() or re.search(r"<!-- /?n\b", token.content):
                message = (
                    "a marker that begins a line makes all of it HTML: put a word before it, or a line break after it"
                )
                found.append((_line(token), message))
        elif token.type == "inline" and not in_table:
            shown = _shown(token.children or [])
        else:
            continue
        for match in MEASURED.finditer(_without_allowed(shown)):
            line = _line(token) + shown.count("\n", 0, match.start())
            number = match[0].replace(FILLED, "<!-- /n -->")
            advice = "take it from an artefact (benchmarks/fill_numbers.py); a setting goes in `code`"
            found.append((line, f"'{number}' is typed by hand: {advice}"))
    return found


def _line(token: Token) -> int:
    """Return the line that a token begins in."""
    return token.map[0] + 1 if token.map else 1


def _shown(children: list[Token]) -> str:
    """Return the text of a paragraph, with its line breaks and with stand-ins for code and for what markers hold."""
    shown, filled = "", False
    for child in children:
        if child.type == "html_inline":
            filled = child.content.startswith("<!-- n:") or (filled and child.content != "<!-- /n -->")
            shown += FILLED * child.content.startswith("<!-- n:") + "\n" * child.content.count("\n")
        elif child.type in {"softbreak", "hardbreak"}:
            shown += "\n"
        elif child.type == "code_inline":
            shown += "`"
        elif not filled:
            shown += child.content
    return shown


def _without_allowed(shown: str) -> str:
    """Return a text with what is allowed in it blanked out."""
    for phrase in ALLOWED:
        pattern = r"\s".join(re.escape(word) for word in phrase.split())
        shown = re.sub(pattern, lambda match: re.sub(r"\S", "_", match[0]), shown)
    return shown
