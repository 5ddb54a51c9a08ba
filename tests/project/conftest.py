"""Extensions that only tests define."""
import pytest


@pytest.fixture
def toys(restored_registries):
    """Register the extensions of tests.helpers.networks.toys in this test."""
    from tests.helpers.networks.toys import register_toys
    register_toys()
