"""What went wrong with one subject. The other subjects are measured all the same."""


class Failure(Exception):
    """Said to the user as it is."""
