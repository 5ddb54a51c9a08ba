"""Fixtures for the tests of data sets."""
import pytest

from openatac.data.small import cifar_location, download


@pytest.fixture
def no_network(monkeypatch):
    """Keep tests from downloading anything by mistake."""
    monkeypatch.setattr(cifar_location, 'HOME', 'http://127.0.0.1:9/')
    monkeypatch.setattr(download, 'PAUSE', 0)
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.delenv('OPENATAC_DATA_URL', raising=False)
