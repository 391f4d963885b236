#!/bin/sh
# SQLite 3.40.1 (Python's), and that of modernc.org/sqlite v1.62.0 (Go): a column's `CHECK (state IN ('a', 'b', 'c'))` builds the list
# as an ephemeral B-tree in every INSERT, and in every UPDATE of the column: opened, filled, sorted and thrown away for each, prepared
# or not. With two values there is none, and `state = 'a' OR state = 'b' OR state = 'c'` has none.
# Expected: the constants of a prepared statement's check cost what the comparisons cost.
# What follows: in a table that is written often, write lists in checks by OR or CASE. With six such lists three fifths of a ledger's
# processor time went there. EXPLAIN shows it as OpenEphemeral; EXPLAIN QUERY PLAN does not.
set -eu
python3 - <<'PYTHON'
import sqlite3
import time

STATES = ["creating", "locked", "settling", "released", "cancelled", "review"]
BY_IN = f"state IN ({', '.join(map(repr, STATES))})"
BY_OR = " OR ".join(f"state = {state!r}" for state in STATES)


def measured(check):
    database = sqlite3.connect(":memory:", isolation_level=None)
    checks = ", ".join([f"CHECK ({check})"] * 3)
    database.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, state TEXT, {checks})")
    insert = "INSERT INTO t (state) VALUES (?)"
    built = sum(step[1] == "OpenEphemeral" for step in database.execute(f"EXPLAIN {insert}", ("review",)))
    best = float("inf")
    for _ in range(5):
        database.execute("BEGIN")
        began = time.process_time()
        for _ in range(20_000):
            database.execute(insert, ("review",))
        best = min(best, (time.process_time() - began) / 20_000 * 1e6)
        database.execute("ROLLBACK")
    return built, best


(built, by_in), (none, by_or) = measured(BY_IN), measured(BY_OR)
print(f"SQLite {sqlite3.sqlite_version}: three checks by IN: {built} tables and {by_in:.1f} us an INSERT; by OR: {none} and {by_or:.1f} us")
if (built, none) != (3, 0) or by_in < 1.5 * by_or:
    raise SystemExit("it is otherwise now")
PYTHON
