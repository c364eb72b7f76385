"""CALVIN (Mees et al., 2022) as an environment that installs by pip: physics by PyBullet, its data from the user's folder.

The numbers, the order in which bodies are loaded and every call into the physics are those of `calvin_env` at commit
797142c, so both simulate the same motions to the last bit; what differs is said where it does.
"""
