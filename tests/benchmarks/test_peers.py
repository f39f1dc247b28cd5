"""The peers of the throughput benchmark: the same networks whatever the batch, and the batch that is fastest."""

import numpy as np
import pytest

import volume
from benchmarks import peers

INPUTS = np.asarray(volume.BooleanCube(2).inputs)


@pytest.mark.parametrize("peer", peers.available().values(), ids=list(peers.available()))
def test_every_batch_draws_what_was_asked(peer):
    """Perceptrons without biases: 00 is always class 0, and all 0 has a quarter. 400 draws: six errors are .13."""
    for batch in (200, 400):
        keys = peer((2, 1), INPUTS, 400, 0, batch)
        assert keys.shape == (400, 1)
        assert not (keys >> np.uint64(7) & np.uint64(1)).any()
        assert np.mean(keys == 0) == pytest.approx(1 / 4, abs=0.13)


def test_the_fastest_batch_is_taken():
    """Of the best of three turns: one slow turn, or one turn that all are slow in, decides nothing."""
    seconds = {20: [9.0, 1.0, 9.0], 500: [3.0, 0.5, 0.9], 5000: [2.0, 2.0, 2.0]}  # of 2000, 2000 and 5000 draws
    made: list[tuple[int, int]] = []

    def peer(widths, inputs, draws, seed, batch):
        made.append((draws, batch))
        return np.zeros((draws, 1), np.uint64)

    turn = {batch: iter(times) for batch, times in seconds.items()}

    def timed(work):
        work()
        return next(turn[made[-1][1]])

    assert peers.fastest_batch(peer, (2, 1), INPUTS, tuple(seconds), timed=timed) == 500
    assert set(made) == {(2000, 20), (2000, 500), (5000, 5000)}
    assert len(made) == 12  # once to compile


def test_batches_share_the_draws():
    assert all(peers.BATCHES[-1] % batch == 0 for batch in peers.BATCHES)
