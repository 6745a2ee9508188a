"""A simulated competition, in exactly the format of the real one."""
