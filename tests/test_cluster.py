"""The connection to Ray: clear errors."""

import sys

import pytest

from xpose.cluster import _check_room, connected
from xpose.errors import ConfigError, MissingExtraError


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "xpose\[ray\]"'), connected(None):
        pass


def test_an_address_without_a_cluster_is_an_error():
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match='reached at "nowhere"'), connected("nowhere"):
        pass


@pytest.mark.parametrize(("processes", "gpus", "told"), [(5, 0, "5 CPUs, and this machine has 4"), (2, 1.5, "3 GPUs")])
def test_more_than_a_machine_has_is_an_error(processes, gpus, told):
    _check_room({"CPU": 4.0, "GPU": 3.0}, 2, 1.5)
    with pytest.raises(ConfigError, match=told):
        _check_room({"CPU": 4.0}, processes, gpus)
