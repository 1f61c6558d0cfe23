"""The house: imports go down the page only, a module is one concept, and starting is quick."""

import ast
import importlib
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
    "agreement_report",
    "export",
    "summary",
    "execution",
    "kernels",
    "agreement_sentences",
    "agreement_sides",
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
    "watching",
    "batch_norm",
    "copies",
    "pipelines",
    "graphs",
    "normalization",
    "comparisons",
    "progress",
    "live",
    "diagrams",
    "normalization_plots",
    "summary_plots",
    "contrast_plots",
    "agreement_plots",
    "paper_plots",
    "instance_plots",
    "instance_tables",
    "plots",
    "figures",
    "tables",
    "gaps",
    "agreement",
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
    assert len((PACKAGE / f"{module}.py").read_text().splitlines()) <= 400


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
    with pytest.raises(AttributeError, match="No normlib attribute trian"):
        normlib.trian  # noqa: B018


def test_the_stub_names_what_is_public_and_where_it_is():
    import normlib

    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    assert all(isinstance(node, ast.ImportFrom) and node.level == 1 for node in stub.body)
    home = {alias.asname: (node.module, alias.name) for node in stub.body for alias in node.names}
    assert sorted(home) == dir(normlib) == sorted(normlib.__all__)
    for name, (module, own_name) in home.items():
        assert name == own_name
        assert getattr(normlib, name) is getattr(importlib.import_module(f"normlib.{module}"), name)


@pytest.mark.parametrize("use_jedi", [False, True])
def test_completion_offers_the_public_names_only(use_jedi):
    # In a process of its own, since a shell makes itself at home in Python. A module that was used is an attribute.
    code = (
        "import normlib, normlib.studies\n"
        "from IPython.core.completer import provisionalcompleter\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "completer = InteractiveShell(user_ns={'normlib': normlib}).Completer\n"
        f"completer.use_jedi = {use_jedi}\n"
        "with provisionalcompleter():\n"
        "    offered = [found.text.removeprefix('.') for found in completer.completions('normlib.', len('normlib.'))]\n"
        "print(sorted(offered) == dir(normlib), 'studies' in vars(normlib))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True True"
