"""Artefacts of comparisons that never ran, and texts with their numbers."""

import fill_numbers

COLUMNS = (
    "data,model,stratum,metric,jobs,seeds,folds,mean,sd,low,high,difference,difference_low,difference_high,p,p_holm"
)
TINY = f"""{COLUMNS}
d,PatchGan,,image_AUROC,3,3,1,0.9004,0.0131,0.85,0.95,,,,,
d,PatchGan,large,image_AUROC,3,3,1,0.97,0.01,,,,,,,
d,"PatchGan, paper preset",,image_AUROC,1,1,1,0.8,,0.7,0.9,-0.1004,-0.2,-0.05,0.001,0.003
d,Padim,,image_AUROC,1,1,1,0.85,,0.8,0.9,-0.0504,-0.1,0.01,0.2,0.2
"""
OTHER = f"{COLUMNS}\nd,PatchGan,,image_AUROC,1,1,1,0.777,,,,,,,,\n"
TABLES = """
tiny:
  columns:
    - [model, $row]
    - [AUROC, '{tiny; $row; image_AUROC; mean±}']
    - [difference, '{?tiny; $row; image_AUROC; difference[]}']
    - ['', '{holds: tiny; $row; image_AUROC; mean >= 0.85}']
  rows: tiny
json:
  columns:
    - [name, $name]
    - [ms, '{?cost.json; rows; $name; ms:.2f}']
    - [kB, '{cost.json; rows; $name; bytes / 1000:.0f}']
  defaults: { name: a }
  rows: [{}, { name: b }, { name: 'null' }]
"""


def problems(clone, text):
    """What is wrong in a text."""
    return fill_numbers.problems_of(clone / "README.md", text, clone / "benchmarks")


def number(reference, stands):
    """A text with one number, in its second line."""
    return f"# T\nText <!-- n: {reference} -->{stands}<!-- /n -->.\n"


TINY_TABLE = """\
| model | AUROC | difference |  |
| --- | ---: | ---: | --- |
| PatchGan | 0.900 ± 0.013 | - | met |
| PatchGan, paper preset | 0.800 | **-0.100** [-0.200, -0.050] | missed |
| Padim | 0.850 | -0.050 [-0.100, +0.010] | met |"""
