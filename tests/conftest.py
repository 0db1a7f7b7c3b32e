"""Settings of the whole suite."""

import torch


def pytest_configure():
    """Compute on one thread.

    The tests' batches are small, and `pytest -n auto` already runs a process on each of the
    machine's two cores: a second thread in each would only wait for the other process.
    """
    torch.set_num_threads(1)
