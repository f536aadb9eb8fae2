"""Peers are counted while they speak, and however many names somebody invents, few are kept."""

from tetrad_transport.statistics import MAX_PEERS, ChannelStatistics


def test_a_peer_counts_once_however_often_it_speaks():
    statistics = ChannelStatistics()
    for peer in (b"a", b"b", b"a"):
        statistics.hear(peer)

    assert statistics.num_peers() == 2


def test_a_peer_that_is_silent_does_not_count():
    statistics = ChannelStatistics()
    statistics.hear(b"a")

    assert statistics.num_peers(within_s=-1.0) == 0


def test_invented_names_are_forgotten_the_longest_silent_first():
    statistics = ChannelStatistics()
    for number in range(MAX_PEERS + 10):
        statistics.hear(b"%d" % number)

    assert statistics.num_peers() == MAX_PEERS
