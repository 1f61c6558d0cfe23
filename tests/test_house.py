"""The house: imports go down the page only, a module is one concept, and starting is quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "normlib"
PAGE = [
    "__main__",
    "cli",
    "exits",
    "scheduling",
    "dispatch",
    "worker",
    "executors",
    "calibration",
    "verification",
    "diagnosis_plots",
    "diagnosis_tables",
    "diagnosis",
    "export",
    "summary",
    "execution",
    "kernels",
    "sentences",
    "ranking_sentences",
    "status",
    "failures",
    "study_records",
    "tuning",
    "studies",
    "study_cards",
    "training",
    "environment",
    "probes",
    "models",
    "own_models",
    "architectures",
    "swapping",
    "readings",
    "moving_averages",
    "pipelines",
    "graphs",
    "normalization",
    "comparisons",
    "progress",
    "live",
    "diagrams",
    "summary_plots",
    "contrast_plots",
    "paper_plots",
    "instance_plots",
    "instance_tables",
    "plots",
    "figures",
    "tables",
    "gaps",
    "rankings",
    "verdicts",
    "contrasts",
    "papers",
    "conditions",
    "statistics",
    "curves",
    "records",
    "run_keys",
    "record_format",
    "files",
    "data",
    "tensorflow_quietly",
    "instance",
    "cards",
    "boxes",
    "archives",
    "arrays",
    "splits",
    "checks",
    "yaml_files",
    "catalog",
    "stack",
    "ordering",
    "markup",
    "errors",
]
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def imported(module):
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "normlib":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("normlib."):
            names.add(node.module.split(".")[1])
    return names


def test_every_module_has_its_place():
    assert sorted(PAGE) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_the_page_only(module):
    above = PAGE[: PAGE.index(module) + 1]
    assert not imported(module) & set(above)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stays_one_concept(module):
    assert len((PACKAGE / f"{module}.py").read_text().splitlines()) <= 250


@pytest.mark.parametrize(
    "start",
    [
        "import normlib",
        "import normlib; normlib.Instance('gn/bn')",
        "import sys; sys.argv = ['normlib', '--help']\nimport normlib.cli\n"
        "try: normlib.cli.main()\nexcept SystemExit: pass",
    ],
    ids=["import", "Instance", "help"],
)
def test_starting_loads_neither_tensorflow_nor_other_heavy_modules(start):
    heavy = "{'tensorflow', 'keras', 'pandas', 'scipy', 'matplotlib', 'papermill', 'numpy'}"
    code = f"{start}\nimport sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_reading_results_needs_no_tensorflow():
    code = (
        "import sys, normlib; normlib.plot_bars(normlib.load_records(normlib.SOURCE_RECORDS)); "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_contracts_names_are_public():
    import normlib

    contract = {"Instance", "build_model", "train", "compare", "load_records", "plot_bars"}
    assert contract <= set(dir(normlib))
    for name in dir(normlib):
        assert getattr(normlib, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        normlib.trian  # noqa: B018
