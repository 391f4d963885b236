"""Pays workers for the tasks in their logs, each once. docs/payroll.md tells all of it.

`evidence` reads what workers say, `ledger` what is locked for them, `plan` decides, `run` does it, `summary` says it.
"""
