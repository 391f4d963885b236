package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"modernc.org/sqlite"
)

const (
	reserveBytes = 1 << 20
	mostTogether = 256
	sqliteFull   = 13
	sqliteIOErr  = 10
)

var errFull = errors.New("the ledger's disk is full")

// write is carried out inside a transaction, and changes the file by one statement at most: where that fails, SQLite
// undoes it by itself, and the others' writes stand.
type write func(*database) error

type queued struct {
	write write
	new   bool
	done  chan error
}

// database owns the ledger's one connection. Writes that wait together are committed together: a commit waits for the
// disk. No statement gets a caller's context: one that a context cancels rolls back the whole transaction, and what
// follows would be committed by itself.
type database struct {
	path, reserve string
	pool          *sql.DB
	conn          *sql.Conn
	prepared      map[string]*sql.Stmt
	queue         chan queued
	ended         chan struct{}
}

var background = context.Background()

func openDatabase(path string) (*database, error) {
	pool, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"+
		"&_pragma=temp_store(MEMORY)") // the image has no /tmp, and totals over a long ledger are sorted
	if err != nil {
		return nil, err
	}
	conn, err := pool.Conn(background)
	if err != nil {
		pool.Close()
		return nil, err
	}
	reserve := strings.TrimSuffix(path, filepath.Ext(path)) + ".reserve"
	return &database{path: path, reserve: reserve, pool: pool, conn: conn, prepared: map[string]*sql.Stmt{}, queue: make(chan queued, mostTogether)}, nil
}

// serve begins to take writes.
func (d *database) serve() {
	d.ended = make(chan struct{})
	go func() {
		defer close(d.ended)
		for first := range d.queue {
			d.together(d.collect(first))
		}
	}()
}

// do returns once the write is on the disk; `new` is refused where the disk is full.
func (d *database) do(new bool, w write) error { return <-d.put(new, w) }

// put queues the write, and tells later what became of it. It is carried out before what is queued after it.
func (d *database) put(new bool, w write) <-chan error {
	done := make(chan error, 1)
	d.queue <- queued{w, new, done}
	return done
}

func (d *database) close() {
	if d.ended != nil {
		close(d.queue)
		<-d.ended
	}
	for _, each := range d.prepared {
		each.Close()
	}
	d.conn.Close()
	d.pool.Close()
}

func (d *database) collect(first queued) []queued {
	batch := []queued{first}
	for len(batch) < mostTogether {
		select {
		case next, ok := <-d.queue:
			if !ok {
				return batch
			}
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

func (d *database) together(batch []queued) {
	answers, err := d.transaction(batch)
	if err != nil && isFull(err) {
		_ = os.Remove(d.reserve) // its room is for the ends of what has begun
		var begun []queued
		for _, each := range batch {
			if each.new {
				each.done <- errFull
			} else {
				begun = append(begun, each)
			}
		}
		batch = begun
		answers, err = d.transaction(batch)
	}
	for i, each := range batch {
		if err != nil {
			each.done <- err
		} else {
			each.done <- answers[i]
		}
	}
}

func (d *database) transaction(batch []queued) (answers []error, err error) {
	if len(batch) == 0 {
		return nil, nil
	}
	if err = d.run("BEGIN IMMEDIATE"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = d.exec("ROLLBACK") // fails where SQLite has done so already
		}
	}()
	for _, each := range batch {
		answer := each.write(d)
		if isFull(answer) {
			err = answer // SQLite may have rolled all of it back
			return nil, err
		}
		answers = append(answers, answer)
	}
	err = d.run("COMMIT")
	return answers, err
}

func (d *database) exec(statement string, values ...any) error {
	_, err := d.conn.ExecContext(background, statement, values...)
	return err
}

func (d *database) run(text string, values ...any) error {
	found, err := d.stmt(text)
	if err == nil {
		_, err = found.ExecContext(background, values...)
	}
	return err
}

// stmt is the statement, parsed once. Only for writes: they take turns.
func (d *database) stmt(text string) (*sql.Stmt, error) {
	if found, ok := d.prepared[text]; ok {
		return found, nil
	}
	found, err := d.conn.PrepareContext(background, text)
	if err == nil {
		d.prepared[text] = found
	}
	return found, err
}

func isFull(err error) bool {
	var found *sqlite.Error
	return errors.As(err, &found) && (found.Code()&0xff == sqliteFull || found.Code()&0xff == sqliteIOErr)
}

// hasRoom is whether new work may begin: the reserve stands, or could be set aside again.
func (d *database) hasRoom() bool {
	if _, err := os.Stat(d.reserve); err == nil {
		return true
	}
	var disk syscall.Statfs_t
	if syscall.Statfs(filepath.Dir(d.path), &disk) != nil || disk.Bavail*uint64(disk.Bsize) < 2*reserveBytes {
		return false
	}
	content := make([]byte, reserveBytes)
	_, _ = rand.Read(content) // bytes that take real room
	if err := os.WriteFile(d.reserve, content, 0o600); err != nil {
		_ = os.Remove(d.reserve)
		return false
	}
	return true
}

// lockSlot makes this process the only one that finishes what slot 0 begins.
func lockSlot(folder string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(folder, "slot-0.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be written: %w", folder, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("another agent works on %s (slot 0): each has a volume of its own", folder)
	}
	return file, nil
}
