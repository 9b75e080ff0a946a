"""What every test shares: one thread, repeatable draws, and the data that a tier needs."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # results and times do not depend on the number of cores


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder that NAS_TEST_DATA names: train/<class>/*.jpg and test/<class>/*.jpg."""
    return Path(os.environ["NAS_TEST_DATA"])


def pytest_collection_modifyitems(items):
    lacking = {}
    if "NAS_TEST_DATA" not in os.environ:
        lacking["realdata"] = "NAS_TEST_DATA names no folder of real images"
    if not torch.cuda.is_available():
        lacking["gpu"] = "no CUDA device"
    for item in items:
        for marker, reason in lacking.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
