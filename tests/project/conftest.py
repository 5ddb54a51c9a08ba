"""Extensions that only tests define."""
import pytest


@pytest.fixture
def toys():
    """Register the extensions of tests.helpers.networks.toys in this test."""
    from tests.helpers.networks.toys import registered_toys
    with registered_toys():
        yield
