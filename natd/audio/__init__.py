"""Samples: ring, chunks, resampling, synthesis."""
