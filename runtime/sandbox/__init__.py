"""A faithful local Purple Flea: three HTTP dialects on one double-entry ledger, with faults on request."""
