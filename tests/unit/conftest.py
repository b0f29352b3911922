"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package")
def ray_cluster() -> Iterator[None]:
    """Connect to one Ray for all unit tests that need one; a test ends the actors it started."""
    import ray  # here alone: most tests do without, and it takes seconds

    # "local": a cluster of whoever runs the tests is left alone.
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
