import numpy as np
import pyarrow as pa

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Alignment, Shard, Verdict
from data_schemas.samples import SampleIndex


def object_track(frames: int, keypoints: int) -> ObjectTrack:
    rng = np.random.default_rng(frames * 10 + keypoints)
    return ObjectTrack(
        demonstration_id="d",
        source="lucas-kanade@1",
        box_source="dataset",
        phrase="",
        box=np.array([1, 2, 3, 4], np.float32),
        box_frame=0,
        num_keypoints=keypoints,
        points=rng.normal(size=(frames, keypoints, 2)).astype(np.float32),
        visibility=rng.uniform(size=(frames, keypoints)).astype(np.float32),
        visible=rng.uniform(size=(frames, keypoints)) > 0.5,
    )


def through_arrow(row):
    table = pa.Table.from_pylist([row.to_record()], schema=row.schema())
    return type(row).from_record(table.to_pylist()[0])


def test_arrays_keep_shape_type_and_values_through_arrow():
    for frames, keypoints in ((5, 3), (1, 8), (0, 4)):
        row = object_track(frames, keypoints)
        back = through_arrow(row)
        for name in ("points", "visibility", "visible", "box"):
            expected, found = getattr(row, name), getattr(back, name)
            assert found.shape == expected.shape
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_nan_positions_survive():
    row = WristTrack(
        demonstration_id="d",
        source="projection",
        points=np.array([[np.nan, np.nan], [1, 2]], np.float32),
        visibility=np.array([0, 1], np.float32),
        visible=np.array([False, True]),
        flags=["no_pose", "found"],
    )
    back = through_arrow(row)
    assert np.isnan(back.points[0]).all()
    assert back.flags == ["no_pose", "found"]


def test_columns_added_by_the_lake_are_ignored():
    row = object_track(2, 2)
    record = {**row.to_record(), "stage_key": "k", "item_id": "i"}
    assert ObjectTrack.from_record(record).num_keypoints == 2


def test_every_row_class_has_a_schema_and_a_table_of_its_own():
    rows = [WristTrack, ObjectTrack, Alignment, Verdict, Shard, LedgerEntry, SampleIndex]
    assert all(len(row.schema()) > 3 for row in rows)
    assert len({row.TABLE for row in rows}) == len(rows)
