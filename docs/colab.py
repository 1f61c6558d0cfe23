"""Set from where the notebooks install normlib in Colab: ``python docs/colab.py SOURCE`` (``make colab SOURCE=...``).

SOURCE is anything that pip installs: a wheel's name, or a repository such as ``git+https://...``.
"""

import re
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
SOURCE = re.compile(r'(?<=normlib_source = \\")[^"\\]+')


def main() -> None:
    """Write the source into the first code cell of each notebook; nothing else of them changes."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text, count = SOURCE.subn(lambda _: sys.argv[1], path.read_text(encoding="utf-8"))
        assert count == 1, path
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
