"""The command lines:  the daemon,  the toolbox."""
