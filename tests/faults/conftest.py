"""What the fault tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def noticed(request: pytest.FixtureRequest) -> Callable[[float], None]:
    """Return what writes down how many seconds a fault went unnoticed, for docs/reliability.md."""

    def note(seconds: float) -> None:
        request.node.user_properties.append(("noticed_s", seconds))

    return note
