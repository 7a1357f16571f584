"""The one kind of error that a command line reports in one line, without a traceback."""


class UserError(ValueError):
    """An error that the user can fix; the message is one line that names the flag, field or file and the remedy."""
