"""Errors that are for people: one message that says what was wrong, where, and what to do."""


class BadInput(Exception):
    """Something the user gave cannot be used; commands print the message alone and exit with code 2."""
