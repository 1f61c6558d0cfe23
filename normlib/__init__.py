"""normlib: which normalization layer, where, in which order, and is the difference real?

The public names stand in ``__init__.pyi``, where editors and type checkers see them. Each is loaded when it is first
used, so that ``import normlib`` starts neither TensorFlow nor pandas.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
