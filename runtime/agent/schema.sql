-- The agents' ledger, the same for every language. Amounts are micro-USDC, times are milliseconds of the Unix epoch.
CREATE TABLE ledger (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  app TEXT NOT NULL,
  wallet TEXT NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT;

-- One row an inference, from before its escrow is asked for. A row is never deleted once anything may have moved.
CREATE TABLE escrows (
  id TEXT PRIMARY KEY,                 -- the token that the escrow carries at the payment service
  slot INTEGER NOT NULL,               -- the server process that finishes it
  idempotency_key TEXT,
  fingerprint TEXT NOT NULL,           -- of the request: the same key with another one is refused
  payer TEXT NOT NULL,
  payee TEXT NOT NULL,
  amount_micro INTEGER NOT NULL CHECK (amount_micro > 0),
  region TEXT NOT NULL,
  machine TEXT NOT NULL,
  state TEXT NOT NULL,
  escrow_id TEXT,
  sent_ms INTEGER NOT NULL,            -- when the create was last about to be sent
  creates INTEGER NOT NULL DEFAULT 0,  -- how often it was sent without a known outcome
  intent TEXT CHECK (intent = 'release' OR intent = 'complete' OR intent = 'cancel' OR intent = 'dispute'),
  answer TEXT CHECK (answer = 'sent' OR answer = 'unknown' OR answer = 'conflict' OR answer = 'refused' OR answer = 'accepted'),
  answered_ms INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0, -- acts sent
  paid_micro INTEGER,                  -- NULL: the service has not told
  fee_micro INTEGER,
  result TEXT,                         -- what the caller gets, also for a repeated request
  note TEXT NOT NULL DEFAULT '',       -- for a person
  version INTEGER NOT NULL DEFAULT 0,  -- of the settlement, for compare-and-swap
  settlement TEXT CHECK (settlement IS NULL OR json_valid(settlement)), -- all that one language knows of it
  created_ms INTEGER NOT NULL,
  settled_ms INTEGER,
  -- No lists by IN in these checks: for each, SQLite builds a table in every statement, half the time of a write.
  CHECK (CASE state
    WHEN 'creating' THEN settled_ms IS NULL
    WHEN 'locked' THEN settled_ms IS NULL AND escrow_id IS NOT NULL
    WHEN 'settling' THEN settled_ms IS NULL AND escrow_id IS NOT NULL AND intent IS NOT NULL
    WHEN 'review' THEN settled_ms IS NOT NULL
    WHEN 'declined' THEN settled_ms IS NOT NULL
    ELSE settled_ms IS NOT NULL AND escrow_id IS NOT NULL AND intent IS NOT NULL
      AND (state = 'released' OR state = 'completed' OR state = 'cancelled' OR state = 'disputed' OR state = 'refunded')
  END)
) STRICT;

-- A cancelled or declined inference cost nothing, so its key may be used again.
CREATE UNIQUE INDEX escrows_by_key ON escrows (idempotency_key)
  WHERE idempotency_key IS NOT NULL AND state NOT IN ('cancelled', 'declined');
CREATE UNIQUE INDEX escrows_by_escrow ON escrows (escrow_id) WHERE escrow_id IS NOT NULL AND state <> 'declined';
CREATE INDEX escrows_open ON escrows (slot) WHERE settled_ms IS NULL;

CREATE VIEW earnings AS
  SELECT region, state, count(*) AS escrows, sum(amount_micro) AS amount_micro, sum(paid_micro) AS paid_micro,
         sum(paid_micro IS NULL) AS untold
  FROM escrows GROUP BY region, state;

-- What a wallet had earned through this ledger by the end of each day.
CREATE VIEW wallet_snapshots AS
  SELECT payee AS address, date(settled_ms / 1000, 'unixepoch') AS day,
         sum(sum(amount_micro)) OVER (PARTITION BY payee ORDER BY date(settled_ms / 1000, 'unixepoch')) AS earned_micro
  FROM escrows WHERE state = 'released' GROUP BY address, day;
