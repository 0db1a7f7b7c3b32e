"""Settings of the whole suite."""

import torch


def pytest_configure():
    """Compute on one thread.

    The tests' batches are small, and pytest-xdist runs a process on each core already: more
    threads would only wait for the other processes.
    """
    torch.set_num_threads(1)
