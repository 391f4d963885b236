"""The code the images ship: payments, settlement and the programs built on them."""

__version__ = "0.1.0"
