"""normlib: which normalization layer, where, in which order, and is the difference real?

The public names stand in ``__init__.pyi``, where editors and type checkers see them. Each is loaded when it is first
used, so that ``import normlib`` starts neither TensorFlow nor pandas.
"""

import sys

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _OnUse:
    """What a public name is on the module's class: Jedi, which asks a completed name for its type, runs no property."""

    def __get__(self, *_):
        raise AttributeError  # and Python asks __getattr__


_module = sys.modules[__name__]
_module.__class__ = type("LazyModule", (type(_module),), dict.fromkeys(__all__, _OnUse()))
