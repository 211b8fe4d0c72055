"""The error that bad input raises."""


class InputError(ValueError):
    """Input that cannot be used. The message names the file, row or key and says what to do."""
