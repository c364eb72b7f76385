import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from openpi_client import msgpack_numpy

from data_schemas.errors import BadInput
from harp.serving.messages import MAX_CONTAINERS, MAX_LIST, decode, encode

DTYPES = st.sampled_from(["|b1", "|u1", "|i1", "<i2", "<u4", "<i8", "<f2", "<f4", "<f8"])
ARRAYS = DTYPES.flatmap(
    lambda d: npst.arrays(d, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
)


@given(ARRAYS)
def test_arrays_of_openpi_arrive_and_ours_arrive_at_openpi(array):
    sent = msgpack_numpy.packb({"a": array})
    assert sent is not None
    for there in (decode(sent)["a"], msgpack_numpy.unpackb(encode({"a": array}))["a"]):
        assert there.dtype == array.dtype
        assert there.shape == array.shape
        assert there.tobytes() == array.tobytes()


def test_messages_are_openpis_byte_for_byte():
    content = {
        "actions": np.arange(6, dtype=np.float32).reshape(2, 3),
        "server_timing": {"infer_ms": np.float32(3.5), "batch_size": 2},
        "names": ["a", "b"],
    }
    assert encode(content) == msgpack_numpy.packb(content)


def test_scalars_keep_their_type():
    sent = msgpack_numpy.packb({"state": [np.float32(0.5), 2], "on": np.bool_(True)})
    assert sent is not None
    content = decode(sent)
    assert content["state"] == [0.5, 2]
    assert content["state"][0].dtype == np.float32
    assert content["on"].dtype == np.bool_


def array(**changes: object) -> bytes | None:
    fields = {"data": b"\0" * 12, "dtype": "|u1", "shape": [2, 2, 3]} | changes
    return msgpack.packb({"image": {b"__ndarray__": True, **{k.encode(): v for k, v in fields.items()}}})


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("text", "a text frame"),
        (b"", "0 bytes"),
        (b"\xc1", "do not unpack"),
        (b"\x81\xa1", "do not unpack"),
        (b"\x80\x80", "do not unpack"),
        (b"\x81\xa1a\xa1\xff", "do not unpack"),
        (msgpack.packb([1, 2]), "a list"),
        (msgpack.packb({1: 2}), "do not unpack"),
        (array(dtype="|O"), "type '|O'"),
        (array(dtype="O"), "type 'O'"),
        (array(dtype="|V12"), "type '|V12'"),
        (array(dtype="<c16"), "type '<c16'"),
        (array(dtype="u1,u1"), "type 'u1,u1'"),
        (array(dtype=[["a", "|O"]]), "type"),
        (array(dtype="9999999u1"), "type"),
        (array(shape=[2, 2, 4]), "12 bytes, expected 16"),
        (array(shape=[2**40, 2**40]), "the shape"),
        (array(shape=[2**31 - 1, 2**31 - 1, 2**31 - 1]), "12 bytes"),
        (array(shape=[-2, -2, 3]), "the shape"),
        (array(shape=[True, 12]), "the shape"),
        (array(shape="12"), "the shape"),
        (array(shape=[1] * 9), "the shape"),
        (array(data="text"), "data are a str"),
        (array(strides=[1]), "keys"),
        (msgpack.packb({b"__ndarray__": True, b"x" * 10**5: 1}), "keys"),
        (msgpack.packb({b"__npgeneric__": True, b"data": [1], b"dtype": "|u1"}), "no number"),
        (msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}), "do not unpack"),
        (msgpack.packb({b"__npgeneric__": True, b"data": 1, b"dtype": "|O"}), "type '|O'"),
        (msgpack.packb({"a": msgpack.ExtType(1, b"x")}), "do not unpack"),
        (msgpack.packb({"a": [0] * (MAX_LIST + 1)}), "do not unpack"),
        (msgpack.packb({"a": [{}] * (MAX_CONTAINERS + 1)}), "maps and lists"),
        (msgpack.packb({"a": [[0]] * (MAX_CONTAINERS + 1)}), "maps and lists"),
        (b"\xdd\xff\xff\xff\xff" * 1000, "do not unpack"),
        (b"\x91" * 2000, "do not unpack"),
    ],
)
def test_other_messages_are_refused_in_one_sentence(message, found):
    with pytest.raises(BadInput, match="bad_message") as caught:
        decode(message)
    assert found in caught.value.detail
    assert "expected" in caught.value.detail
    assert len(caught.value.detail) < 250


@given(st.binary(max_size=200))
def test_noise_is_a_message_or_bad_input(noise):
    with contextlib.suppress(BadInput):  # nothing else may be raised
        assert isinstance(decode(noise), dict)
