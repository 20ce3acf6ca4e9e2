"""Every network of other libraries; the default tests build two of them."""

from __future__ import annotations

import os

import pytest

from elsewhere import check_network
from segstudy.networks.build import NETWORKS


@pytest.mark.skipif("SEGSTUDY_NETWORKS" not in os.environ, reason="set SEGSTUDY_NETWORKS=1 to build all of them")
@pytest.mark.parametrize("name", NETWORKS.table)
def test_a_network_of_another_library_trains(name: str) -> None:
    check_network(name)
