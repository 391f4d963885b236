"""The operator: watches Jobs, and pays or disputes each one's escrow exactly once.

kopf logs in, runs the process until a signal and watches what people decide; Jobs are watched in `job_watch`; the money
logic is `runtime.settlement`; the durable state is the `Escrow` custom resource. What a watch missed is found by a
periodic list, so no bookkeeping is written onto the Jobs.
"""
