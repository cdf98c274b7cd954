"""The two ways in which a job can end early, both without a traceback for the user."""


class UserError(Exception):
    """Unusable arguments or input: one line with the file, what was expected and what to do."""


class Rejected(Exception):
    """A bracket that cannot be used; the message is the reason, and the other brackets go on."""
