"""What fault tests share: fixtures of the end-to-end tests, and pools of stand-ins."""

from tests.e2e.conftest import corpus, home, shell, write_config
from tests.faults.engine_runs import cluster, make_run

__all__ = ["cluster", "corpus", "home", "make_run", "shell", "write_config"]
