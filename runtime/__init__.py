"""The code the images ship: payments, settlement and the programs built on them."""
