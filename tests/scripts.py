"""The repository's own scripts, which are in no package."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def load(name, folder=DOCS):
    """Return the module of a script in ``docs/``, or in another folder."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
