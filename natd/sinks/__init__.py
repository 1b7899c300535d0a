"""Where events go: one file per sink."""
