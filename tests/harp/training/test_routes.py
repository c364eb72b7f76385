"""Who predicts whose future."""

from harp.training.routes import PairedPrediction, SinglePrediction, prediction_routes

# 3 robot clips (2 paired), 4 human clips (2 paired): rows 0-2 and 3-6.
SIZES = (3, 4, 2)


def routes(paired: PairedPrediction, single: SinglePrediction = "self"):
    source, target = prediction_routes(*SIZES, paired, single)
    return sorted(zip(source.tolist(), target.tolist(), strict=True))


CROSS = [(0, 3), (1, 4), (3, 0), (4, 1)]
OWN = [(0, 0), (1, 1), (3, 3), (4, 4)]
SINGLES = [(2, 2), (5, 5), (6, 6)]


def test_pairs_and_singles_are_switched_apart():
    assert routes("cross") == sorted(CROSS + SINGLES)
    assert routes("self") == sorted(OWN + SINGLES)
    assert routes("both") == sorted(CROSS + OWN + SINGLES)
    assert routes("cross", "none") == CROSS
    assert routes("self", "none") == OWN


def test_without_pairs_or_singles():
    source, target = prediction_routes(2, 1, 0, "cross", "self")
    assert source.tolist() == target.tolist() == [0, 1, 2]
    assert len(prediction_routes(2, 1, 0, "cross", "none")[0]) == 0
