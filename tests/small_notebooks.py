"""The committed notebooks, those that train much with smaller parameters: as papermill would give them."""

from pathlib import Path

from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
SMALLER = {
    "tour": {"seeds": 2, "fit_split": "test[:320]", "evaluate_split": "train[:500]"},
    "why": {"points": 3, "fit_split": "test[:640]", "evaluate_split": "train[:500]"},
}


def read(name):
    """Return a notebook, as a person would have it who changed some parameters."""
    notebook = load_notebook_node(str(FOLDER / f"{name}.ipynb"))
    return parameterize_notebook(notebook, SMALLER[name]) if name in SMALLER else notebook
