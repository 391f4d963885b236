"""What a person did wrong."""


class Mistake(Exception):
    """What was asked for cannot be done; the message says why and what can."""
