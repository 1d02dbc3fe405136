"""The plot of accuracy against latency, and the table on a terminal."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.transforms import Bbox
from PIL import Image

from anomalib_patchgan.cli import edge
from anomalib_patchgan.deploy.edge_report import draw, encode, text_table, write_edge_plot, write_edge_table

MODELS = (
    "PatchGan", "PatchGan, ranking off", "PatchGan, paper preset", "Autoencoder", "Alocc", "OneClassSvm", "Ganomaly",
    "Draem, 20 steps, no texture images", "Padim", "Patchcore", "Stfpm", "Fre", "ReverseDistillation, random teacher",
    "MeanIntensity, brighter", "MeanIntensity, learned side", "StandardDeviation", "MirrorDifference", "$x_1 and $y",
)  # fmt: skip


def make_rows(seed=0):
    """As many models as a benchmark has, some at the same place, beside five exports of almost equal quality."""
    rng = np.random.default_rng(seed)
    rows = {}
    for number, form in enumerate(("FP32", "FP16", "INT8", "INT8_PTQ", "INT8_ACQ, networks only")):
        rows[form] = {"p50_ms": 8 - number / 2, "image_AUROC": 0.938 - number / 1000, "pixel_AP": 0.76 - number / 1000}
    for model in MODELS:
        value = rng.uniform(0.5, 0.75)
        rows[model] = {"p50_ms": float(10 ** rng.uniform(-1, 2)), "seeds": 3.0, "image_AUROC": value}
        rows[model] |= {"pixel_AP": value - 0.4, "image_AUROC_sd": rng.uniform(0, 0.05), "pixel_AP_sd": 0.01}
    rows["MeanIntensity, learned side"] = dict(rows["MeanIntensity, brighter"])
    rows["Ganomaly"] |= {"pixel_AP": None, "pixel_AP_sd": None}
    return rows


def names_in(axes):
    """The names of points in a panel, without those of lines."""
    return [text for text in axes.texts if text.get_rotation() == 0]


@pytest.mark.parametrize("seed", range(3))
def test_no_name_covers_another_a_point_or_a_bar(seed):
    rows = make_rows(seed)
    figure = draw(rows)
    figure.draw_without_rendering()
    for axes, metric in zip(figure.axes, ("image_AUROC", "pixel_AP"), strict=True):
        texts = names_in(axes)
        expected = [model for model, row in rows.items() if row[metric] is not None]
        assert [text.get_text() for text in texts] == expected
        boxes = [text.get_window_extent() for text in texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
        points = axes.transData.transform([[rows[model]["p50_ms"], rows[model][metric]] for model in expected])
        assert not any(box.contains(*point) for box in boxes for point in points)
        segments = [bar.get_segments()[0] for one in axes.containers for bar in one.lines[2]]
        bars = [Bbox(axes.transData.transform(segment)) for segment in segments]
        assert len(bars) == sum(rows[model].get("seeds") is not None for model in expected)
        assert not any(box.overlaps(bar) for box in boxes for bar in bars)
        inside = axes.get_window_extent()
        assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
        assert axes.get_xscale() == "log"


def test_points_and_bars_are_where_the_table_says():
    rows = {
        "FP32": {"p50_ms": 5.0, "pixel_AP": 0.5},
        "A": {"p50_ms": 2.0, "pixel_AP": 0.4, "pixel_AP_sd": 0.1, "seeds": 3.0},
    }
    (axes,) = draw(rows).axes
    assert axes.get_ylabel() == "pixel AP"
    places = [tuple(one.lines[0].get_xydata()[0]) for one in axes.containers]
    assert places == [(5.0, 0.5), (2.0, 0.4)]
    (segment,) = axes.containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose(segment, [[2, 0.3], [2, 0.5]])
    colours = {one.lines[0].get_color() for one in axes.containers}
    assert len(colours) == 2


def test_models_without_quality_are_lines_and_those_without_time_are_not_drawn():
    rows = {"FP32": {"p50_ms": 5.0, "image_AUROC": 0.9}, "Fast": {"p50_ms": 1.0}, "No export": {"image_AUROC": 0.8}}
    (axes,) = draw(rows).axes
    assert [text.get_text().strip() for text in axes.texts] == ["Fast", "FP32"]
    assert draw({"FP32": {"p50_ms": 5.0}}).axes[0].get_ylabel() == "image AUROC"


def test_figure_is_written_as_png_and_svg_the_same_each_time(tmp_path):
    figure = draw(make_rows())
    image = Image.open(io.BytesIO(encode(figure, "png")))
    assert image.size[0] > 1500
    assert encode(figure, "svg") == encode(draw(make_rows()), "svg")
    write_edge_table(make_rows(), tmp_path, [])
    write_edge_plot(make_rows(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"edge.csv", "edge.md", "edge.png", "edge.svg"}


def test_a_name_makes_no_other_table():
    headings, cells = text_table({"A | B\nC": {"p50_ms": 1.0}})
    assert (headings, cells) == (["model", "p50 ms"], [["A / B C", "1.00"]])


@pytest.mark.parametrize("terminal", [True, False])
def test_terminal_gets_a_drawn_table_and_a_pipe_markdown(monkeypatch, capsys, terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    markdown = "| model | p50 ms |\n|---|---:|\n| [bold] | 1.00 |\n\nOn a machine.\n"
    edge._show({"[bold]": {"p50_ms": 1.0}}, markdown)
    said = capsys.readouterr().out
    assert (said == markdown) is not terminal
    assert "[bold]" in said
    assert "On a machine." in said
    assert ("|" in said) is not terminal
