"""Errors that are shown to the user as they are."""


class Failure(Exception):
    """One subject could not be measured. The other subjects still are."""


class Missing(Failure):
    """A program or library that a peer needs is not installed."""
