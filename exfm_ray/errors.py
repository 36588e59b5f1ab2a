"""The two kinds of failure that a user meets."""


class UserError(Exception):
    """The user's mistake: one line with the field, the value found, what is allowed and how to mend it. Exit code 2."""


class DataError(Exception):
    """Committed data that contradicts itself (row counts, ids, checksums): ours or the disk's failure. Exit code 1."""
