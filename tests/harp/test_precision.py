"""A recipe that leaves the precision open takes what the machine computes."""

import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from harp.precision import native_precision
from harp.recipes import load_stage1_recipe
from harp.training.config import OptimizationConfig
from pipelines.labels.stage import LabelConfig


@pytest.mark.skipif(sys.platform != "linux", reason="reads the processor's flags from /proc/cpuinfo")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_processor_is_asked() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    if not flags & {"amx_bf16", "avx512_bf16"}:
        assert native_precision() == "fp32"


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx2": True, "avx512_bf16": False}, "fp32"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": True}, "bf16"),
    ],
)
def test_bf16_needs_instructions_for_it(monkeypatch, capabilities, precision) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert native_precision.__wrapped__() == precision
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in older releases
    assert native_precision.__wrapped__() == "fp32"


def test_what_was_decided_is_what_a_run_records() -> None:
    config = load_stage1_recipe("laptop").training
    assert config.precision == native_precision() == OptimizationConfig(steps=1).precision
    assert f'"precision":"{native_precision()}"' in config.model_dump_json()
    for named in ("fp32", "bf16"):
        assert load_stage1_recipe("laptop", [f"training.precision={named}"]).training.precision == named
    assert LabelConfig.model_validate({"horizon_seconds": [1.0], "precision": "auto"}).precision == (
        native_precision()
    )
    with pytest.raises(ValidationError, match="precision"):
        OptimizationConfig.model_validate({"steps": 1, "precision": "fp8"})
