"""A measured number without a reference, or with a broken one, is found."""

import pytest

from tests.fakes.numbers import problems


@pytest.mark.parametrize(
    "typed",
    [
        "AUROC 0.9 here", "AUROC .912", "**0.912**", "[0.7](https://a.org)", "-0.01 and", "± 0.003", "(0.849,",
        "x = 0.5.",
        "0,912", "1,234 files", "2e-3", "12 %", "12%", "91 per cent", "about 3 ms", "40-60 ms", "5 MB", "71 MiB",
        "4 minutes",
        "238 s", "3 times", "2x faster", "5-fold", "0\\.9", "1.8\u00d7 as fast", "3\u00d7 as fast", "225 images/s",
        "| 0.9 |",
        "| a | b |\n|---|---|\n| c | 0.9 |", "# 0.9", "> 0.9", "![0.9](a.png)", "<p>0.9</p>",
        "1<!-- n: tiny; Padim; image_AUROC; seeds -->1<!-- /n --> files",
        "a <!-- n: tiny; Padim; image_AUROC; seeds -->1<!-- /n -->.5",
        "<!-- 0.8 --> 0.9", "24 test patients", "158 slices", "an AUROC of 91", "pixel AP 70", "91 AUROC",
        "reaches 91 image AUROC",
        "a `lone tick 0.9",
    ],
)  # fmt: skip
def test_a_number_typed_by_hand_is_found(clone, typed):
    found = [line for line, _ in problems(clone, f"# T\n\n{typed}\n")]
    assert found
    assert set(found) <= {3, 5}


@pytest.mark.parametrize(
    "text",
    [
        "`0.9`",
        "```\n0.9\n```", "[a](https://a.org/0.9)", "version 1.2.3 or v1.2", "32\u00d732 tiles of five patients",
        "BraTS 2019",
        "Eq. 5", "[0, 1]", "`5` MB", "Python\n3.10", "<!-- 0.9 -->", "(16, 32)", "seeds: 3.", "U-Net2.5x",
        "`<!-- n: a; b; c -->0.1<!-- /n -->`", "```\n<!-- n: a -->0.1<!-- /n -->\n<!-- table: a -->\n```",
    ],
)  # fmt: skip
def test_what_is_no_measurement_may_stand(clone, text):
    assert not problems(clone, f"# T\n\n{text}\n")


@pytest.mark.parametrize(
    "text",
    [
        "a <!-- n: tiny; Padim; image_AUROC; mean -->0.850",
        "a 0.850<!-- /n -->",
        "a <!-- n tiny; Padim; image_AUROC; mean -->0.850<!-- /n -->",
        "a <!--n: tiny; Padim; image_AUROC; mean -->0.850<!-- /n -->",
        "<!-- n: tiny; Padim; image_AUROC; mean -->0.850<!-- /n --> begins a line",
        "<!-- holds: tiny; Padim; image_AUROC; mean < 1 --> begins a line",
        "<!-- holds tiny; Padim; image_AUROC; mean < 1 -->",
        "<!-- table: tiny -->\n\n| a |\n|---|",
        "a ` tick\n\nb <!-- n: tiny; Padim; image_AUROC; mean -->0.851<!-- /n --> ` tick",
        "<!-- table: nothing -->\n<!-- /table -->",
    ],
)
def test_a_broken_marker_is_found(clone, text):
    assert problems(clone, f"# T\n\n{text}\n")
