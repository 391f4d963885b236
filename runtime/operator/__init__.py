"""The operator: watches Jobs, and pays or disputes each one's escrow exactly once.

The Jobs, and the Escrows that people decide about, are watched through `runtime.kubernetes`; the money logic is
`runtime.settlement`; the durable state is the `Escrow` custom resource. What a watch missed is found by a periodic
list, so no bookkeeping is written onto the Jobs.
"""
