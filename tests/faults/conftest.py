"""What fault tests of the real stack share with the end-to-end tests."""

from tests.e2e.conftest import corpus, home, shell, write_config

__all__ = ["corpus", "home", "shell", "write_config"]
