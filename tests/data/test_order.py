"""The order of samples: permutations, independence of ranks, and resuming anywhere."""

import numpy as np
import pytest

from hdtrans.data.order import BatchOrder, file_index, sample_random


class TestSampleIndex:
    def test_every_epoch_is_a_permutation_of_its_own(self):
        epochs = [[file_index(3, 1, 10 * epoch + place, 10) for place in range(10)] for epoch in range(4)]
        assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 4

    def test_depends_on_seed_and_stage_alone(self):
        def order(seed, stage):
            return tuple(file_index(seed, stage, counter, 20) for counter in range(20))

        assert order(0, 0) == order(0, 0)
        assert len({order(0, 0), order(1, 0), order(0, 1)}) == 3

    def test_can_start_anywhere(self):
        forwards = [file_index(0, 0, counter, 7) for counter in range(100)]
        backwards = [file_index(0, 0, counter, 7) for counter in reversed(range(100))]
        assert forwards == backwards[::-1]

    def test_the_order_is_a_recorded_one(self):
        # A run that was stopped goes on with another version of numpy: the order may not change.
        assert [file_index(0, 0, counter, 8) for counter in range(8)] == [0, 3, 7, 5, 1, 2, 6, 4]

    def test_places_are_evenly_mixed(self):
        first = [file_index(0, 0, 5 * epoch, 5) for epoch in range(2000)]
        assert np.bincount(first, minlength=5).min() > 330


class TestSampleRandom:
    def test_is_a_function_of_its_arguments(self):
        def draw(*arguments):
            return sample_random(*arguments).random()

        assert draw(0, 0, 5, "geometry") == draw(0, 0, 5, "geometry")
        different = [(0, 0, 5, "geometry"), (1, 0, 5, "geometry"), (0, 1, 5, "geometry"), (0, 0, 6, "geometry")]
        different += [(0, 0, 5, "noise"), (0, 0, 5 + 2**32, "geometry")]
        assert len({draw(*arguments) for arguments in different}) == len(different)


class TestBatchOrder:
    def test_two_ranks_of_two_see_the_batches_of_one_rank_of_four(self):
        whole = list(BatchOrder(8, 20, batch_size=4))
        parts = zip(BatchOrder(8, 20, 2, rank=0, world=2), BatchOrder(8, 20, 2, rank=1, world=2), strict=True)
        assert [first + second for first, second in parts] == whole
        assert whole == [[8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19]]

    @pytest.mark.parametrize(("stop", "batches"), [(0, 0), (1, 1), (6, 1), (7, 2), (12, 2)])
    def test_runs_to_a_whole_global_batch(self, stop, batches):
        for rank in range(3):
            order = BatchOrder(0, stop, batch_size=2, rank=rank, world=3)
            assert len(order) == len(list(order)) == batches

    def test_resumes(self):
        assert list(BatchOrder(0, 24, 2, 1, 2))[3:] == list(BatchOrder(12, 24, 2, 1, 2))

    def test_nothing_is_left_of_a_finished_stage(self):
        assert len(BatchOrder(9, 5, 2)) == 0 and list(BatchOrder(9, 5, 2)) == []
