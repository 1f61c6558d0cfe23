"""One training step: here, in PyTorch, and what the machine could do at best."""

from __future__ import annotations

import concurrent.futures
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import ROOT, Figure, alternate, python
from normlib import data, stack
from normlib.models.instance import Instance

PYTORCH = ROOT / ".venv" / "pytorch"
PYTORCH_VERSION = "2.13.0"
BATCH = 32
# Multiply-adds of one image in convolution 1, convolution 2 and the two dense layers; Adam's weights.
FORWARD = (26 * 26 * 10 * 9, 24 * 24 * 10 * 90, 5760 * 128, 128 * 10)
WEIGHTS = 100 + 910 + 5760 * 128 + 128 + 1290


def step(rounds: int) -> list[Figure]:
    """Milliseconds of the whole machine for one step of a sweep, beside PyTorch's and the floor."""
    _install_pytorch()
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "arrays.npz"
        x, y = data.load_split("mnist", Instance("none").fit_examples)
        np.savez(arrays, x=x, y=y)
        for ordering in ("none/none", "gn/bn"):
            sides = [lambda o=ordering: _keras(o), lambda o=ordering: _pytorch(o, arrays), floor]
            measured = alternate(sides, rounds)
            figures += [
                Figure(f"{ordering}: normlib / PyTorch", [a / b for a, b, _ in measured], aim=0.65),
                Figure(f"{ordering}: normlib, ms", [a for a, _, _ in measured]),
                Figure(f"{ordering}: PyTorch, ms", [b for _, b, _ in measured]),
            ]
    return [*figures, Figure("floor without normalization, ms", [c for _, _, c in measured])]


def floor() -> float:
    """Return the milliseconds that a step's multiplications and Adam's traffic take at the machine's best.

    A layer's backward pass multiplies twice as often as its forward pass, the first layer's once: it passes no gradient
    on. Adam reads gradient, weight and two moments, and writes three of them.
    """
    operations = 2 * BATCH * (3 * sum(FORWARD) - FORWARD[0])
    moved = 4 * WEIGHTS * 7
    side = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    vectors = np.ones((2, stack.cores(), 2**24), np.float32)
    rate = 2 * 2048**3 / min(_seconds(lambda: side @ side) for _ in range(5))
    with concurrent.futures.ThreadPoolExecutor(stack.cores()) as executor:
        copied = vectors.nbytes / min(_seconds(lambda: list(executor.map(np.copyto, *vectors))) for _ in range(5))
    return 1000 * (operations / rate + moved / copied)


def _keras(ordering: str) -> float:
    """Return the milliseconds between steps, over all processes: one of one thread for each core, as in a sweep."""
    command = python("-m", "benchmarks.keras_steps", ordering)
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(stack.cores())]
    each = [float(process.communicate()[0].splitlines()[-1]) for process in started]
    return float(np.mean(each)) / stack.cores()


def _pytorch(ordering: str, arrays: Path) -> float:
    command = [PYTORCH / "bin" / "python", ROOT / "benchmarks" / "plain_pytorch.py", ordering, arrays]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def _seconds(work: object) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _install_pytorch() -> None:
    """Make an environment with PyTorch, which nothing else here needs."""
    if not (PYTORCH / "installed").exists():
        print(f"  installing PyTorch {PYTORCH_VERSION} into {PYTORCH.relative_to(ROOT)}", flush=True)
        subprocess.run(python("-m", "venv", "--clear", PYTORCH), check=True)
        pip = [PYTORCH / "bin" / "python", "-m", "pip", "install", "--quiet", "numpy", f"torch=={PYTORCH_VERSION}"]
        subprocess.run(pip, check=True)
        (PYTORCH / "installed").touch()
