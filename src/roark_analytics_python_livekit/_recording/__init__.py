"""Frames to stereo: where every sample belongs."""
