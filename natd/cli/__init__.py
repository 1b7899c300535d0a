"""The command lines: natd the daemon, nat the toolbox."""
