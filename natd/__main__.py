"""`python -m natd` is the daemon."""

from natd.cli.natd import main

raise SystemExit(main())
