"""The repository's own scripts, which are in no package."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def load(name):
    """Return the module of a script in ``docs/``."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
