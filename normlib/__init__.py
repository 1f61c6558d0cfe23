"""normlib: which normalization layer, where, in which order, and is the difference real?

The names below are loaded when they are first used, so that ``import normlib`` starts neither TensorFlow nor pandas.
"""

from __future__ import annotations

import importlib

_HOME = {
    "Diagnosis": "diagnosis",
    "Instance": "instance",
    "Ordering": "ordering",
    "Record": "records",
    "RequestError": "errors",
    "SOURCE_RECORDS": "records",
    "Study": "studies",
    "build_model": "models",
    "compare": "training",
    "debias": "readings",
    "describe_layers": "models",
    "diagnose": "diagnosis",
    "estimate": "verdicts",
    "load_records": "records",
    "moving_average_gap": "readings",
    "plot_bars": "plots",
    "plot_beside_paper": "paper_plots",
    "plot_contrasts": "contrast_plots",
    "plot_cosine_similarity": "diagnosis_plots",
    "plot_gap": "summary_plots",
    "plot_gradient_norms": "diagnosis_plots",
    "plot_learning_curves": "instance_plots",
    "plot_model": "diagrams",
    "plot_moving_statistics": "diagnosis_plots",
    "plot_places": "summary_plots",
    "plot_readings": "instance_plots",
    "plot_training": "summary_plots",
    "plot_winners": "contrast_plots",
    "count_rankings": "rankings",
    "read_records": "records",
    "recalibrate": "readings",
    "run_study": "scheduling",
    "seeds_needed": "verdicts",
    "slots": "swapping",
    "swap": "swapping",
    "read_study": "studies",
    "to_frame": "records",
    "train": "training",
    "train_all": "training",
    "use_threads": "tensorflow_quietly",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'normlib' has no attribute {name!r}")
    return getattr(importlib.import_module(f"normlib.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
