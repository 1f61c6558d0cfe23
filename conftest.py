"""For all tests, the notebooks among them, which nbval collects."""


def pytest_collection_modifyitems(items):
    """Leave stderr out of what nbval compares: TensorFlow logs there, and differently on every machine."""
    for notebook in {item.parent for item in items if hasattr(item.parent, "skip_compare")}:
        notebook.skip_compare = (*notebook.skip_compare, "stderr")
