"""The kinds of failure that a user meets."""


class UserError(Exception):
    """The user's mistake: one line with the field, the value found, what is allowed and how to mend it. Exit code 2."""


class DataError(Exception):
    """Committed data that contradicts itself (row counts, ids, checksums): ours or the disk's failure. Exit code 1."""


class WaitError(Exception):
    """What was waited for did not come in time: one line with what it is, how long, and what helps. Exit code 1."""
