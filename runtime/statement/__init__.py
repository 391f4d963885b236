"""What every Escrow came to in a period, to the micro-USDC.

`lines` reads one account into one line, `sums` adds lines up, `reconciliation` holds them against the payment service,
and each other module writes them in one form.
"""
