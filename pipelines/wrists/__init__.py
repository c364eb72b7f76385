"""The acting point: human wrist by detection, robot end effector by projection."""
