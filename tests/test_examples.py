"""The worked examples: a model and kinds of one's own. A study of the kinds is run in test_cli.py."""

from pathlib import Path

import pytest

from normlib.models.build import build_model
from normlib.studies.study import read_study

EXAMPLES = Path(__file__).parent.parent / "examples"
PLAIN = 9 * (1 * 16 + 16 * 32 + 32 * 64) + (64 + 1) * 10
SOURCE = 739_708
WEIGHTS = {
    "plain_network": {
        "none": PLAIN,
        "bn": PLAIN + 4 * (16 + 32 + 64),
        "gn": PLAIN + 2 * (16 + 32 + 64),
        "bn/gn/gn": PLAIN + 4 * 16 + 2 * (32 + 64),
    },
    "my_norms": {
        "none/none": SOURCE,
        "my_norms:Centred/none": SOURCE,
        "my_norms:without_offset/none": SOURCE + 10,
        "gn/none": SOURCE + 20,
    },
}


@pytest.mark.parametrize("study", WEIGHTS)
def test_what_stands_in_the_slots_has_its_weights(study, monkeypatch):
    """A channel has four in BatchNorm, two in GroupNorm, one in what has no offset, and none in what only centres."""
    monkeypatch.syspath_prepend(EXAMPLES)
    instances = read_study(EXAMPLES / f"{study}.yaml").instances
    assert {instance.ordering: build_model(instance).count_params() for instance in instances} == WEIGHTS[study]
