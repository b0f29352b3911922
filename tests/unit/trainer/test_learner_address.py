"""The network interface that the ranks of a learner use."""

from __future__ import annotations

import socket

import psutil

from trainer.learner_group import interface_towards


def test_the_interface_is_the_one_on_the_way_to_rank_0() -> None:
    assert interface_towards("127.0.0.1") == "lo"
    for name, addresses in psutil.net_if_addrs().items():
        for entry in addresses:
            if entry.family == socket.AF_INET:
                # A rank on the node of rank 0 takes the interface whose address rank 0 gave.
                assert interface_towards(entry.address) == name
