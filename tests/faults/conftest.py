"""What fault tests share: fixtures of the end-to-end tests, pools of stand-ins, and a clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.conftest import corpus, home, shell, write_config
from tests.faults.engine_runs import cluster, make_run

__all__ = ["cluster", "corpus", "home", "make_run", "noticed", "shell", "write_config"]


@pytest.fixture
def noticed(request: pytest.FixtureRequest) -> Callable[[float], None]:
    """Return what writes down how many seconds a fault went unnoticed, for docs/reliability.md."""

    def note(seconds: float) -> None:
        request.node.user_properties.append(("noticed_s", seconds))

    return note
