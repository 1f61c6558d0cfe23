"""Complete ``normlib.`` twice, as a kernel does when Tab is pressed: prints ``[seconds, seconds again]``."""

from __future__ import annotations

import json
import time

from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import normlib

if __name__ == "__main__":
    completer, took = InteractiveShell(user_ns={"normlib": normlib}).Completer, []
    for _ in range(2):
        started = time.perf_counter()
        with provisionalcompleter():
            offered = list(completer.completions("normlib.", len("normlib.")))
        took.append(time.perf_counter() - started)
    if len(offered) != len(dir(normlib)):
        raise RuntimeError(f"{len(offered)} names are offered")
    print(json.dumps(took))
