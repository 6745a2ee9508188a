"""Encoders: each has the `channels` and `strides` of the levels that its `forward` returns, finest first."""
