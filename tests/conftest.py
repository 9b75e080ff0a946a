"""What every test shares: one thread, repeatable draws, and the data that a tier needs."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `nas.commands` does, before NumPy comes

os.environ.pop("COLUMNS", None)  # nothing is broken into lines that a test reads

import signal
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # how fast they draw is the machine's affair
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # results and times do not depend on the number of cores


@pytest.fixture(scope="session", autouse=True)
def _signals_arrive():
    # a shell ignores these for what it runs in the background, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder that NAS_TEST_DATA names: train/<class>/*.jpg and test/<class>/*.jpg."""
    return Path(os.environ["NAS_TEST_DATA"])


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Sixty images of two classes, 8x8: a training on them takes a fraction of a second."""
    from tests.support.searching import write_images

    return write_images(tmp_path_factory.mktemp("images") / "folder")


@pytest.fixture
def folder(tmp_path, monkeypatch, images):
    """An empty folder of studies, with the study that `searching.words` asks for."""
    from tests.support.searching import Folder

    monkeypatch.setenv("NAS_STUDIES", str(tmp_path / "studies"))
    monkeypatch.setenv("NAS_CACHE", str(images / "cache"))
    monkeypatch.delenv("NAS_STORAGE", raising=False)
    return Folder(tmp_path / "studies", "tiny-8k-folder")


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
