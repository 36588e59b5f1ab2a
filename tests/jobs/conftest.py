"""One head for all tests of jobs: starting it takes longer than most of them."""

import secrets
from collections.abc import Iterator

import pytest

from tests.ray_head import Head


@pytest.fixture(scope="session")
def started_head() -> Iterator[Head]:
    head = Head(token=secrets.token_hex(32), cpus=6)
    try:
        head.start()
        yield head
    finally:
        head.kill()
