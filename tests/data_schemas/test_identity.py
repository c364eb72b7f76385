import hashlib

from data_schemas.identity import content_id, content_ids, demonstration_id, stage_key


def test_borders_between_parts_count():
    assert content_id("ab", "c") != content_id("a", "bc")


def test_ids_depend_on_content_only():
    assert demonstration_id("rh20t", "0" * 64, "cam") == demonstration_id("rh20t", "0" * 64, "cam")
    assert demonstration_id("rh20t", "0" * 64, "cam") != demonstration_id("rh20t", "1" + "0" * 63, "cam")


def test_a_stage_key_changes_with_everything_that_changes_a_row():
    base = stage_key("alignments", 1, {"window": 0.2}, ["m@1"], ["u"])
    assert base == stage_key("alignments", 1, {"window": 0.2}, ["m@1"], ["u"])
    others = [
        stage_key("verdicts", 1, {"window": 0.2}, ["m@1"], ["u"]),
        stage_key("alignments", 2, {"window": 0.2}, ["m@1"], ["u"]),
        stage_key("alignments", 1, {"window": 0.3}, ["m@1"], ["u"]),
        stage_key("alignments", 1, {"window": 0.2}, ["m@2"], ["u"]),
        stage_key("alignments", 1, {"window": 0.2}, ["m@1"], ["v"]),
        stage_key("alignments", 1, {"window": 0.2}, ["m@1", "u"], []),
    ]
    assert len({base, *others}) == 7


def test_order_of_configuration_keys_and_upstream_keys_does_not_matter():
    assert stage_key("s", 1, {"a": 1, "b": 2}, [], ["x", "y"]) == stage_key(
        "s", 1, {"b": 2, "a": 1}, [], ["y", "x"]
    )


def test_parts_in_common_are_hashed_once_to_the_same_ids() -> None:
    parts = ("pair", "Zürich", "", "x" * 300)
    framed = b"".join(len(part.encode()).to_bytes(8, "little") + part.encode() for part in parts)
    expected = hashlib.blake2b(framed, digest_size=8).hexdigest()
    for split in range(len(parts) + 1):
        of = content_ids(*parts[:split])
        assert [of(*parts[split:]) for _ in range(2)] == [expected] * 2
    assert content_id(*parts) == expected
