"""Every error natd raises on purpose; `exit_code` is what the command line returns for it."""


class NatdError(Exception):
    """Base of the tree: a message that names the thing and the cure."""

    exit_code = 70


class ConfigError(NatdError):
    """The configuration cannot be used; the message lists every fault found."""

    exit_code = 78


class ModelError(NatdError):
    """Weights or codebooks are missing, damaged, or not what their hash says."""

    exit_code = 65


class NotInstalled(ModelError):
    """Weights or codebooks are not there at all; the message says how to get them."""


class SourceError(NatdError):
    """An audio source cannot be opened or read."""

    exit_code = 66


class BindError(NatdError):
    """A socket address is in use or may not be bound."""

    exit_code = 71


class OutputError(NatdError):
    """A recording cannot be written."""

    exit_code = 73


class WireError(NatdError):
    """Bytes that do not follow the wire format."""

    exit_code = 76
