"""The connection to Ray: clear errors."""

import sys

import pytest

from xpose.cluster import connected
from xpose.errors import ConfigError, MissingExtraError


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "xpose\[ray\]"'), connected(None):
        pass


def test_an_address_without_a_cluster_is_an_error():
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match='reached at "nowhere"'), connected("nowhere"):
        pass
