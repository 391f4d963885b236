"""Does tasks: the one of a Job, or one after the other of those that wait for its wallet. docs/payroll.md tells all."""
