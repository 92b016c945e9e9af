"""Samples of made-up ticks, read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.synthetic import PLAN, write_ticks
from training.data import Samples
from training.inputs import Standard, TrainingSet, fit_standard, training_set
from training.measure import Yardstick
from training.source import TickFiles


@pytest.fixture(scope="session")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of made-up ticks."""
    directory = tmp_path_factory.mktemp("ticks")
    write_ticks(directory)
    return directory


@pytest.fixture(scope="session")
def yardstick(ticks: Path) -> Yardstick:
    """What measures models on them."""
    return Yardstick(PLAN, TickFiles(ticks))


@pytest.fixture(scope="session")
def standard(yardstick: Yardstick) -> Standard:
    """The standard of the features."""
    return fit_standard(yardstick.parts.train)


@pytest.fixture(scope="session")
def learned(yardstick: Yardstick, standard: Standard) -> TrainingSet:
    """Every fourth window of the train part as heads see it."""
    samples = yardstick.parts.train
    return training_set(samples.where(np.arange(len(samples)) % 4 == 0), standard, PLAN.horizon_bars)


@pytest.fixture(scope="session")
def unseen(yardstick: Yardstick) -> Samples:
    """Some windows of the test part."""
    samples = yardstick.parts.test
    return samples.where(np.arange(len(samples)) % 5 == 0)
