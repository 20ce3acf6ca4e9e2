"""Every network of other libraries; the default tests build two of them."""

from __future__ import annotations

import pytest

from elsewhere import check_network
from segstudy.networks.build import NETWORKS


@pytest.mark.parametrize("name", NETWORKS.table)
def test_a_network_of_another_library_trains(name: str) -> None:
    check_network(name)
