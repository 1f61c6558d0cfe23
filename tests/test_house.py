"""The house: imports go down the page only, a module is one concept, and starting is quick."""

import ast
import graphlib
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "normlib"
# From the ground up: what a wing's modules import is theirs, or stands below. The ground floor has no wing.
WINGS = ["models", "runs", "analysis", "studies", "report", "execution", "cli"]
MODULES = [path for path in PACKAGE.rglob("*.py") if "notebooks" not in path.parts]


def floor(name):
    """Return how high a module stands, by its dotted name below normlib."""
    first = name.split(".")[0]
    return WINGS.index(first) if first in WINGS else WINGS.index("cli") if first == "__main__" else -1


def imports(path):
    """Yield the modules of normlib that a module imports, and whether only to show something, or for annotations."""
    tree = ast.parse(path.read_text())
    shown = [node for node in ast.walk(tree) if getattr(node, "name", "") in SHOWING or is_for_annotations(node)]
    within = {id(node) for function in shown for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "normlib":
            for alias in node.names:
                yield f"{node.module}.{alias.name}".removeprefix("normlib."), id(node) in within


def is_for_annotations(node):
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


# What shows something reaches up for it when it is called.
SHOWING = {"__str__", "_repr_html_", "answer", "compare", "findings", "question", "plot_bars", "table"}


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])
def test_imports_go_down_only(path):
    own = floor(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    assert [name for name, shows in imports(path) if floor(name) > own and not shows] == []


def test_within_a_wing_imports_go_one_way():
    """No module is imported by what it imports."""
    needs = {}
    for path in MODULES:
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        needs[name] = {found for found, shows in imports(path) if not shows}
    graph = {
        name: {other for other in needs for found in wanted if found == other or found.startswith(f"{other}.")} - {name}
        for name, wanted in needs.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


LIGHT = """
import sys
import normlib
import normlib.cli
normlib.Instance("gn/bn")
normlib.read_study("source")
for command in ("--help", "study nosuchstudy", "study source --orderings bm", "study source --seeds 0"):
    sys.argv = ["normlib", *command.split()]
    try:
        normlib.cli.main()
    except SystemExit:
        pass
heavy = {"tensorflow", "keras", "pandas", "scipy", "matplotlib", "papermill", "nbformat", "jsonschema", "numpy"}
print(sorted(heavy & set(sys.modules)))
"""
READING = """
import sys, normlib
normlib.plot_bars(normlib.load_records(normlib.SOURCE_RECORDS))
print("tensorflow" in sys.modules)
"""


@pytest.mark.parametrize(("code", "said"), [(LIGHT, "[]"), (READING, "False")], ids=["refusals", "reading results"])
def test_what_needs_no_tensorflow_loads_none_and_what_is_refused_no_heavy_module_at_all(code, said):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == said


def test_the_stub_names_what_is_public_and_where_it_is():
    import normlib

    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    assert all(isinstance(node, ast.ImportFrom) and node.level == 1 for node in stub.body)
    home = {alias.asname: (node.module, alias.name) for node in stub.body for alias in node.names}
    assert sorted(home) == dir(normlib) == sorted(normlib.__all__)
    for name, (module, own_name) in home.items():
        assert name == own_name
        assert getattr(normlib, name) is getattr(importlib.import_module(f"normlib.{module}"), name)
    with pytest.raises(AttributeError, match="No normlib attribute trian"):
        normlib.trian  # noqa: B018


def test_completion_offers_the_public_names_only_and_loads_none():
    # In a process of its own, since a shell makes itself at home in Python. A module that was used is an attribute.
    code = (
        "import sys, normlib, normlib.studies\n"
        "from IPython.core.completer import provisionalcompleter\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "completer = InteractiveShell(user_ns={'normlib': normlib}).Completer\n"
        "for completer.use_jedi in (False, True):\n"
        "    with provisionalcompleter():\n"
        "        offered = [found.text.removeprefix('.') for found in completer.completions('normlib.', 8)]\n"
        "    print(sorted(offered) == dir(normlib))\n"
        "print('studies' in vars(normlib), *{'tensorflow', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3
