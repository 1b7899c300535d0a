"""Tools that work on files; never imported by the daemon."""
