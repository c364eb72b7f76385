"""Which floating-point type networks run in: bf16 where the machine computes it, float32 where it would imitate it.

Processors without instructions for bf16, as those with AVX2 only, take several times as long in it as in float32
(`python -m benchmarks.training.step --set training.precision=bf16`, and `=fp32`).
"""

from functools import cache
from typing import Annotated, Literal

from pydantic import BeforeValidator


@cache
def native_precision() -> Literal["fp32", "bf16"]:
    """bf16 on a machine whose GPU or CPU has instructions for it."""
    import torch  # here, since commands that only describe themselves read recipes too

    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Older releases of torch do not say.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"


def _decided(value: object) -> object:
    return native_precision() if value == "auto" else value


Precision = Annotated[Literal["fp32", "bf16"], BeforeValidator(_decided)]
"""In recipes also `auto`: what suits the machine that reads it. A run records what that was; where something else suits, it
is another request, and is refused until the recipe names the recorded type."""
