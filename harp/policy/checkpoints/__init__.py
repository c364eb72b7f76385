"""Policy checkpoints: OpenVLA's, Prismatic's, the paper's authors' and ours, which is theirs."""

from harp.policy.checkpoints.folder import load_policy, write_policy
from harp.policy.checkpoints.read import load_vla_weights

__all__ = ["load_policy", "load_vla_weights", "write_policy"]
