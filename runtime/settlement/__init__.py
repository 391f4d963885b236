"""Settles escrows: decide, record the intent, read, act, verify by reading, record. A payment happens once or waits.

`table` decides, `record` is what is written down, `driver` does the I/O. Every payer uses it.
"""
