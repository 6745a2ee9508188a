"""Encoders: every one exposes `channels` and `strides`, finest level first."""
