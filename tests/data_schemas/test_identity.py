from data_schemas.identity import content_id, demonstration_id, stage_key


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
