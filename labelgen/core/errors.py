"""The two errors that end a job early without a traceback for the user."""


class UserError(Exception):
    """Unusable arguments or input: one line with the file, what was expected and what to do."""


class Rejected(Exception):
    """A bracket that cannot be used, with the reason. The build goes on with the others."""
