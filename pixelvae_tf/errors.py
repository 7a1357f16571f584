"""The one kind of error that a command line reports in a line, without a traceback."""


class UserError(ValueError):
    """Something that the user can mend; the message is one line that names the flag, field or file and the remedy."""
