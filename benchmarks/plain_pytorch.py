"""The milliseconds between steps in a plain PyTorch loop, with its default threads.

Usage: ``python plain_pytorch.py ORDERING ARRAYS``, in an environment with PyTorch and NumPy only.
"""

import sys
import time

import numpy as np
import torch

EPOCHS = 4


def slot(kind: str) -> list[torch.nn.Module]:
    """Return what stands in a slot of ten channels."""
    kinds = {
        "none": lambda: [],
        "bn": lambda: [torch.nn.BatchNorm2d(10, eps=1e-3, momentum=0.01)],
        "gn": lambda: [torch.nn.GroupNorm(5, 10, eps=1e-3)],
    }
    return kinds[kind]()


def model(ordering: str) -> torch.nn.Module:
    """Return the source's model."""
    first, second = ordering.split("/")
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 10, 3),
        *slot(first),
        torch.nn.Conv2d(10, 10, 3),
        *slot(second),
        torch.nn.Flatten(),
        torch.nn.Linear(5760, 128),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(128, 10),
    )


def main(ordering: str, path: str) -> None:
    """Print the median over epochs."""
    with np.load(path) as arrays:
        x, y = torch.from_numpy(arrays["x"])[:, None], torch.from_numpy(arrays["y"].astype(np.int64))
    between = []
    for _ in range(EPOCHS):
        network = model(ordering)
        optimizer = torch.optim.Adam(network.parameters(), eps=1e-7)
        ends = []
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
            ends.append(time.perf_counter())
        between.append((ends[-1] - ends[0]) / (len(ends) - 1))
    print(1000 * np.median(between))


if __name__ == "__main__":
    main(*sys.argv[1:])
