"""Fitting of shipped weights; never imported by the daemon."""
