"""For ``pytest --nbval`` on these notebooks, here and where they are copied: what may differ between machines."""

from pathlib import Path


def pytest_configure(config):
    """Replace figures and places that cannot be equal everywhere, as sanitize.cfg says, before outputs are compared."""
    if hasattr(config.option, "nbval_sanitize_with") and not config.option.nbval_sanitize_with:
        config.option.nbval_sanitize_with = str(Path(__file__).with_name("sanitize.cfg"))


def pytest_collection_modifyitems(items):
    """Leave stderr out of what nbval compares: TensorFlow logs there, and differently on every machine."""
    for notebook in {item.parent for item in items if hasattr(item.parent, "skip_compare")}:
        notebook.skip_compare = (*notebook.skip_compare, "stderr")
