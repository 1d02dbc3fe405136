"""What the documentation points at is there, and the first page stays short."""

import re

import fill_numbers
import pytest
from markdown_it import MarkdownIt

MARKDOWN = MarkdownIt("commonmark").enable("table")
README_LINES = 150
PATH_IN_CODE = re.compile(r"\b(?:configs|benchmarks)/[\w/.-]+\.(?:yaml|py|csv|txt)\b")


def tokens_of(text):
    """All tokens of a Markdown text, those inside paragraphs, headings and table cells included."""
    for token in MARKDOWN.parse(text):
        yield token
        yield from token.children or ()


def anchors_of(text):
    """The anchors that GitHub gives the headings of a text."""
    tokens = MARKDOWN.parse(text)
    titles = [
        "".join(child.content for child in tokens[index + 1].children if child.type in {"text", "code_inline"})
        for index, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def broken_links(path):
    """Links and pictures of a file that lead to no file, or to no heading of one."""
    text = path.read_text(encoding="utf-8")
    for token in tokens_of(text):
        target = token.attrGet("href") or token.attrGet("src")
        if not target or re.match(r"[a-z]+:", str(target)):
            continue
        name, _, anchor = str(target).partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors_of(file.read_text(encoding="utf-8"))):
            yield target


def test_links_lead_somewhere(repo_root):
    found = {
        path.relative_to(repo_root): links
        for path in fill_numbers.documents(repo_root)
        if (links := list(broken_links(path)))
    }
    assert found == {}


def test_files_named_as_code_exist(repo_root):
    missing = [
        (path.relative_to(repo_root).as_posix(), name)
        for path in fill_numbers.documents(repo_root)
        # A changelog also names what has gone since.
        if path.name != "CHANGELOG.md"
        for name in PATH_IN_CODE.findall(path.read_text(encoding="utf-8"))
        if not (repo_root / name).exists()
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("target", "broken"),
    [
        ("other.md", False),
        ("other.md#export-edge", False),
        ("#here", False),
        ("https://example.org/x", False),
        ("none.md", True),
        ("other.md#import", True),
        ("#there", True),
    ],
)
def test_a_broken_link_is_found(tmp_path, target, broken):
    (tmp_path / "other.md").write_text("# Export: `edge`\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n\n| a |\n|---|\n| [text]({target}) |\n")
    assert list(broken_links(page)) == ([target] if broken else [])


def test_readme_is_short_and_opens_with_a_picture_and_results(repo_root):
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    parts = ["](benchmarks/results/", "<!-- table: headline -->", "\n## Install", "\n## Your data"]
    positions = [text.index(part) for part in parts]
    assert positions == sorted(positions)
