"""Figures of a tokenizer on audio that nothing was fitted on, each beside its null; never imported by the daemon."""
