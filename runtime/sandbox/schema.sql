-- The sandbox's ledger, version 2. Amounts are integer micro-USDC, times integer epoch seconds.
-- What must never be wrong (legs sum to zero, nothing is rewritten, no overdraft) is enforced here, not in Python.

CREATE TABLE settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;

CREATE TABLE agents (
  id            TEXT PRIMARY KEY,
  owner_id      TEXT NOT NULL REFERENCES agents (id),  -- whose keys act for it: itself, or who registered it
  referral_code TEXT NOT NULL UNIQUE,
  referrer_id   TEXT REFERENCES agents (id),
  created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
  hash     BLOB PRIMARY KEY,  -- sha256; the key itself is never stored
  agent_id TEXT NOT NULL REFERENCES agents (id),
  revoked  INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1))
) STRICT;

CREATE TABLE claims (
  id       TEXT PRIMARY KEY,
  agent_id TEXT NOT NULL UNIQUE REFERENCES agents (id),  -- one claim per agent id
  ip       TEXT NOT NULL,
  at       INTEGER NOT NULL
) STRICT;
CREATE INDEX claims_by_ip ON claims (ip, at);

CREATE TABLE escrows (
  id              TEXT PRIMARY KEY,
  payer_id        TEXT NOT NULL REFERENCES agents (id),
  payee_id        TEXT NOT NULL REFERENCES agents (id),
  amount          INTEGER NOT NULL CHECK (amount > 0),
  fee             INTEGER NOT NULL CHECK (fee BETWEEN 0 AND amount),
  referrer_id     TEXT REFERENCES agents (id),
  referral        INTEGER NOT NULL CHECK (referral BETWEEN 0 AND fee),
  description     TEXT NOT NULL,  -- `description` or `terms_hash`, as the dialect calls it
  metadata        TEXT NOT NULL,  -- JSON, `fly` only
  timeout_hours   INTEGER NOT NULL,
  status          TEXT NOT NULL CHECK (status IN ('funded', 'completed', 'released', 'disputed', 'refunded', 'cancelled')),
  created_at      INTEGER NOT NULL,
  auto_release_at INTEGER NOT NULL,
  completed_at    INTEGER,
  disputed_at     INTEGER,
  settled_at      INTEGER
) STRICT;
CREATE INDEX escrows_by_payer ON escrows (payer_id, status, created_at);
CREATE INDEX escrows_due ON escrows (auto_release_at) WHERE status IN ('funded', 'completed');

CREATE TRIGGER escrow_terms_are_fixed BEFORE UPDATE OF
  id, payer_id, payee_id, amount, fee, referrer_id, referral, description, created_at, auto_release_at ON escrows
BEGIN SELECT RAISE (ABORT, 'the terms of an escrow never change'); END;

CREATE TRIGGER escrow_end_is_final BEFORE UPDATE OF status ON escrows
WHEN OLD.status IN ('released', 'refunded', 'cancelled')
BEGIN SELECT RAISE (ABORT, 'a settled escrow keeps its status'); END;

CREATE TABLE events (
  id         INTEGER PRIMARY KEY,
  escrow_id  TEXT NOT NULL REFERENCES escrows (id),
  event      TEXT NOT NULL,
  actor_id   TEXT,
  note       TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_escrow ON events (escrow_id);

-- The books. Only the outside world (deposits) and the faucet may owe; every other account stays at or above zero.
CREATE TABLE accounts (
  id      INTEGER PRIMARY KEY,
  kind    TEXT NOT NULL CHECK (kind IN ('wallet', 'escrow', 'fees', 'faucet', 'deposits')),
  holder  TEXT NOT NULL,  -- agent id, escrow id, or empty
  balance INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0 OR kind IN ('faucet', 'deposits')),
  float_balance REAL NOT NULL DEFAULT 0,  -- USDC as the published server adds it up; drifts, and no part of the books
  UNIQUE (kind, holder)
) STRICT;

CREATE TABLE entries (
  id        INTEGER PRIMARY KEY,
  at        INTEGER NOT NULL,
  kind      TEXT NOT NULL CHECK (kind IN ('deposit', 'claim', 'lock', 'release', 'refund', 'cancel')),
  escrow_id TEXT REFERENCES escrows (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX entries_by_escrow ON entries (escrow_id);

-- An entry's legs are written before the entry: the entry then closes them, and only when they sum to zero.
CREATE TABLE legs (
  entry_id   INTEGER NOT NULL REFERENCES entries (id) DEFERRABLE INITIALLY DEFERRED,
  account_id INTEGER NOT NULL REFERENCES accounts (id),
  amount     INTEGER NOT NULL CHECK (amount <> 0),
  role       TEXT NOT NULL CHECK (role IN ('source', 'deposited', 'granted', 'locked', 'paid', 'fee', 'referral', 'refunded'))
) STRICT;
CREATE INDEX legs_by_entry ON legs (entry_id);
CREATE INDEX legs_by_account ON legs (account_id);

CREATE TRIGGER legs_sum_to_zero BEFORE INSERT ON entries
WHEN (SELECT count(*) < 2 OR sum(amount) <> 0 FROM legs WHERE entry_id = NEW.id)
BEGIN SELECT RAISE (ABORT, 'the legs of an entry must sum to zero'); END;

CREATE TRIGGER closed_entry_takes_no_leg BEFORE INSERT ON legs
WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.entry_id)
BEGIN SELECT RAISE (ABORT, 'an entry that is written takes no further leg'); END;

CREATE TRIGGER leg_moves_balance AFTER INSERT ON legs
BEGIN
  UPDATE accounts SET balance = balance + NEW.amount, float_balance = float_balance + NEW.amount / 1000000.0
   WHERE id = NEW.account_id;
END;

CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries BEGIN SELECT RAISE (ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries BEGIN SELECT RAISE (ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER legs_are_never_changed BEFORE UPDATE ON legs BEGIN SELECT RAISE (ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER legs_are_never_deleted BEFORE DELETE ON legs BEGIN SELECT RAISE (ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events BEGIN SELECT RAISE (ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events BEGIN SELECT RAISE (ABORT, 'the ledger is append-only'); END;
