package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// row is one inference in the ledger; schema.sql says what the columns mean.
type row struct {
	id, key, fingerprint, payer, payee string
	amount                             usdc
	region, machine, state             string
	escrowID, intent, answer, result   sql.NullString
	sentMs, answeredMs, createdMs      int64
	creates, attempts                  int
	settledMs                          sql.NullInt64
}

// takenError says that the idempotency key belongs to another inference.
type takenError struct{ row row }

func (e takenError) Error() string { return "taken by " + e.row.id }

const columns = `id, coalesce(idempotency_key, ''), fingerprint, payer, payee, amount_micro, region, machine, state, escrow_id,
  intent, answer, result, sent_ms, coalesce(answered_ms, 0), created_ms, creates, attempts, settled_ms`

func scan(from interface{ Scan(...any) error }) (row, error) {
	var r row
	var amount int64
	err := from.Scan(&r.id, &r.key, &r.fingerprint, &r.payer, &r.payee, &amount, &r.region, &r.machine, &r.state, &r.escrowID,
		&r.intent, &r.answer, &r.result, &r.sentMs, &r.answeredMs, &r.createdMs, &r.creates, &r.attempts, &r.settledMs)
	r.amount = usdc(amount)
	return r, err
}

func nowMs() int64 { return time.Now().UnixMilli() }

// ledger is an opened ledger file.
type ledger struct {
	db       *database
	lock     *os.File
	restored string
}

func openLedger(s *settings) (*ledger, error) {
	lock, err := lockSlot(s.data)
	if err != nil {
		return nil, err
	}
	path := s.ledgerPath()
	db, err := openDatabase(path)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s cannot be opened as a ledger: %w", path, err)
	}
	if err := check(db, path, s); err != nil {
		db.close()
		lock.Close()
		return nil, err
	}
	db.hasRoom()
	db.serve()
	return &ledger{db, lock, filepath.Join(s.data, contract.LedgerRestored)}, nil
}

// unconfirmed is why nothing new may begin on a ledger that came from a bucket; empty otherwise.
func (l *ledger) unconfirmed() string {
	if _, err := os.Stat(l.restored); errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return "the ledger was restored: compare it with the payment service, then `books confirm`"
}

func (l *ledger) close() {
	l.db.close()
	l.lock.Close()
}

func check(db *database, path string, s *settings) error {
	var verdict string
	if err := db.conn.QueryRowContext(background, "PRAGMA quick_check(1)").Scan(&verdict); err != nil || verdict != "ok" {
		return fmt.Errorf("%s is damaged or no ledger: %v %s; put it aside and restore a copy", path, err, verdict)
	}
	if err := db.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	if err := createOrRecognize(db, path, s); err != nil {
		_ = db.exec("ROLLBACK")
		return err
	}
	return db.exec("COMMIT")
}

func createOrRecognize(db *database, path string, s *settings) error {
	var tables, version, owner int64
	for query, into := range map[string]*int64{
		"SELECT count(*) FROM sqlite_schema WHERE type = 'table'": &tables,
		"PRAGMA user_version":   &version,
		"PRAGMA application_id": &owner,
	} {
		if err := db.conn.QueryRowContext(background, query).Scan(into); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if tables == 0 {
		for _, statement := range []string{schema, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d",
			contract.LedgerApplicationID, contract.LedgerVersion)} {
			if err := db.exec(statement); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		return db.exec("INSERT INTO ledger VALUES (1, ?, ?, ?)", s.app, s.wallet, nowMs())
	}
	if owner != contract.LedgerApplicationID {
		return fmt.Errorf("%s is no agent's ledger: is this another app's volume?", path)
	}
	if version != contract.LedgerVersion {
		which := "the newer program again"
		if version < contract.LedgerVersion {
			which = "the program that wrote it, and ask there"
		}
		return fmt.Errorf("%s has version %d, this program knows %d: deploy %s", path, version, contract.LedgerVersion, which)
	}
	var app, wallet string
	if err := db.conn.QueryRowContext(background, "SELECT app, wallet FROM ledger").Scan(&app, &wallet); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if app != s.app || wallet != s.wallet {
		return fmt.Errorf("%s is the ledger of app %s with wallet %s, not of %s with %s: mount that app's own volume, or set %s back",
			path, app, wallet, s.app, s.wallet, name("AGENT_WALLET"))
	}
	return nil
}

// begin puts an inference and its first create on record, in one transaction.
func (l *ledger) begin(r row) error {
	return l.db.do(true, func(db *database) error {
		if r.key != "" {
			taken, err := db.one("idempotency_key = ? AND state NOT IN ('cancelled', 'declined')", r.key)
			if err == nil {
				return takenError{taken}
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		return db.run(`INSERT INTO escrows (id, slot, idempotency_key, fingerprint, payer, payee,
			amount_micro, region, machine, state, sent_ms, creates, created_ms)
			VALUES (?, 0, nullif(?, ''), ?, ?, ?, ?, ?, ?, 'creating', ?, 1, ?)`,
			r.id, r.key, r.fingerprint, r.payer, r.payee, int64(r.amount), r.region, r.machine, nowMs(), r.createdMs)
	})
}

func (d *database) one(where, value string) (row, error) {
	found, err := d.stmt("SELECT " + columns + " FROM escrows WHERE " + where)
	if err != nil {
		return row{}, err
	}
	return scan(found.QueryRowContext(background, value))
}

// set carries out one statement about one row.
func (l *ledger) set(statement string, values ...any) error { return <-l.put(statement, values...) }

// put queues one statement about one row.
func (l *ledger) put(statement string, values ...any) <-chan error {
	return l.db.put(false, func(db *database) error {
		found, err := db.stmt(statement)
		if err != nil {
			return err
		}
		done, err := found.ExecContext(background, values...)
		if err != nil {
			return err
		}
		if count, err := done.RowsAffected(); err != nil || count != 1 {
			return fmt.Errorf("%d rows instead of one: %v", count, err)
		}
		return nil
	})
}

func (l *ledger) byID(id string) (found row, err error) {
	err = l.db.do(false, func(db *database) (err error) {
		found, err = db.one("id = ?", id)
		return err
	})
	return found, err
}

// unfinished is what an earlier process left open.
func (l *ledger) unfinished() (found []row, err error) {
	err = l.db.do(false, func(db *database) error {
		rows, err := db.conn.QueryContext(background, "SELECT "+columns+" FROM escrows WHERE settled_ms IS NULL ORDER BY created_ms")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := scan(rows)
			if err != nil {
				return err
			}
			found = append(found, r)
		}
		return rows.Err()
	})
	return found, err
}

// total is a line of the view `earnings`.
type total struct {
	region, state string
	escrows       int64
	amount        usdc
}

// earnings reads every row, on another connection than the one that writes: payments do not wait for it.
func (l *ledger) earnings() (found []total, err error) {
	rows, err := l.db.pool.QueryContext(background, "SELECT region, state, escrows, amount_micro FROM earnings")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var t total
		var amount int64
		if err := rows.Scan(&t.region, &t.state, &t.escrows, &amount); err != nil {
			return nil, err
		}
		t.amount = usdc(amount)
		found = append(found, t)
	}
	return found, rows.Err()
}
