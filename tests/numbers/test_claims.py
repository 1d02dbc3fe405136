"""What a sentence claims is checked, for every model that it speaks of."""

import pytest
import references

from tests.fakes.numbers import problems


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        ("tiny; !PatchGan; image_AUROC; difference < 0", []),
        ("tiny; !PatchGan; image_AUROC; difference_high < 0", ["Padim: 0.01 < 0 is not so"]),
        ("tiny; !PatchGan!Padim; image_AUROC; difference_high < 0", []),
        ("tiny; !PatchGan*; image_AUROC; mean <= tiny; PatchGan; image_AUROC; mean", []),
        ("tiny; *; image_AUROC; mean <= 0.85", ["PatchGan: 0.9004 <= 0.85 is not so"]),
        ("tiny; Padim; image_AUROC; p_holm >= 0.05 and tiny; Padim; image_AUROC; mean > 0.8", []),
        (
            "tiny; Padim; image_AUROC; p_holm >= 0.05 and tiny; Padim; image_AUROC; mean > 0.9",
            ["Padim: 0.85 > 0.9 is not so"],
        ),
        ("tiny; Padim; image_AUROC; seeds = 3", ["Padim: 1 = 3 is not so"]),
        ("cost.json; rows; b; bytes / cost.json; rows; a; bytes > 1000", []),
    ],
)
def test_a_claim_is_checked_for_every_model_it_speaks_of(clone, claim, wrong):
    assert references.contradictions(clone / "benchmarks", claim) == wrong
    found = problems(clone, f"# T\n- Claim.\n  <!-- holds: {claim} -->\n")
    assert found == [(3, f"this no longer holds: {text}") for text in wrong]


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("tiny; Padim; image_AUROC; mean", "is no claim"),
        ("tiny; !P*; image_AUROC; mean > 0", "no row"),
        ("tiny; Padim; image_AUROC; mean < tiny; *; image_AUROC; mean", "picks 3 rows"),
        ("tiny; *; image_AUROC; difference_high < 0", "is no number"),  # what has none must not count as holding
        ("tiny; PatchGan; large/image_AUROC; p_holm < 0.05", "is no number"),
    ],
)
def test_a_claim_of_nothing_is_an_error(clone, claim, message):
    ((line, told),) = problems(clone, f"# T\n- Claim.\n  <!-- holds: {claim} -->\n")
    assert line == 3
    assert message in told
