package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	mostPromptCharacters = 1_000_000
	firstDelay           = time.Second
)

// refusal is why there is no result, in words for the caller. Nothing was charged unless the code says so.
type refusal struct {
	status        int
	code, message string
	wait          time.Duration
}

var unknownPayment = refusal{502, "payment_unknown", "whether money was locked is not known; a person looks into it", 0}

func (r refusal) Error() string { return r.message }

// ask is what a caller wants.
type ask struct{ payer, prompt, key string }

func (a ask) fingerprint() string {
	sum := sha256.Sum256([]byte(a.payer + "\x00\x00" + a.prompt)) // between them stands the escrow that a caller brings
	return hex.EncodeToString(sum[:])
}

// answer is what a caller gets.
type answer struct {
	Result   string      `json:"result"`
	Cost     json.Number `json:"cost_usdc"`
	EscrowID string      `json:"escrow_id"`
	Region   string      `json:"region"`
	PaidBy   string      `json:"paid_by"`
	Status   string      `json:"status"`
	Replayed bool        `json:"replayed,omitempty"`
}

// agent sells inferences, and finishes what was begun. What stands in the ledger before it is sent survives a crash.
type agent struct {
	settings  *settings
	ledger    *ledger
	payments  *payments
	work      work
	turns     chan struct{}
	taken     atomic.Int64
	stopping  atomic.Bool
	keyWrong  atomic.Bool
	finishing sync.WaitGroup
	ended     context.Context
	end       context.CancelFunc
}

func newAgent(s *settings, l *ledger) *agent {
	ended, end := context.WithCancel(context.Background())
	return &agent{
		settings: s, ledger: l, payments: newPayments(s), work: newWork(s),
		turns: make(chan struct{}, s.concurrency), ended: ended, end: end,
	}
}

// infer does one, whatever becomes of the caller meanwhile: what has begun is finished.
func (a *agent) infer(asked ask) (answer, error) {
	characters := utf8.RuneCountInString(asked.prompt)
	amount, sold := price(a.settings, characters)
	if !sold || characters > mostPromptCharacters {
		return answer{}, refusal{413, "prompt_too_long", fmt.Sprintf("the prompt has %d characters, more than is sold at once", characters), 0}
	}
	if a.stopping.Load() {
		return answer{}, refusal{503, "stopping", "this Machine is about to stop", time.Second}
	}
	bound := int64(a.settings.concurrency + a.settings.queue)
	defer a.taken.Add(-1)
	if a.taken.Add(1) > bound {
		return answer{}, refusal{429, "busy", fmt.Sprintf("%d requests are under way here", bound), time.Second}
	}
	a.turns <- struct{}{}
	defer func() { <-a.turns }()
	if !a.ledger.db.hasRoom() {
		return answer{}, refusal{503, "ledger_full", "the ledger's disk is full; nothing was charged", 0}
	}
	if why := a.ledger.unconfirmed(); why != "" {
		return answer{}, refusal{503, "restored", why, 0}
	}
	r := row{
		id: "pf-" + random(16), key: asked.key, fingerprint: asked.fingerprint(), payer: asked.payer, payee: a.settings.wallet,
		amount: amount, region: a.settings.region, machine: a.settings.machine, state: "creating", createdMs: nowMs(),
	}
	if err := a.ledger.begin(r); err != nil {
		return a.notBegun(asked, err)
	}
	r, written, err := a.lock(r)
	if err != nil {
		return answer{}, err
	}
	found, err := a.worked(r, asked.prompt)
	if failed := <-written; failed != nil { // known by now, as what was written after it; nothing more was sent
		a.review(r.id, fmt.Sprintf("escrow %s could not be written down: %v", r.escrowID.String, failed))
		return answer{}, unknownPayment
	}
	return found, err
}

func (a *agent) notBegun(asked ask, err error) (answer, error) {
	var taken takenError
	switch {
	case errors.As(err, &taken):
		return a.again(asked, taken.row)
	case errors.Is(err, errFull):
		return answer{}, refusal{503, "ledger_full", "the ledger's disk is full; nothing was charged", 0}
	}
	slog.Error("the ledger cannot be written", "error", err)
	return answer{}, refusal{503, "ledger_unavailable", "the ledger cannot be written; nothing was charged", 0}
}

// again answers a repeated request from the ledger.
func (a *agent) again(asked ask, earlier row) (answer, error) {
	if earlier.fingerprint != asked.fingerprint() {
		return answer{}, refusal{409, "conflict", "this idempotency key was used for another request", 0}
	}
	var found answer
	if earlier.result.Valid && json.Unmarshal([]byte(earlier.result.String), &found) == nil {
		found.Status, found.Replayed = earlier.state, true
		return found, nil
	}
	if earlier.state == "review" {
		return answer{}, unknownPayment
	}
	return answer{}, refusal{409, "in_progress", "the first request with this key is still under way", time.Second}
}

// lock creates the escrow of a row that is on record. It is sent once; only what surely did nothing is forgotten. The
// work need not wait until the escrow is on record: what ends it is written after that, and not without it.
func (a *agent) lock(r row) (row, <-chan error, error) {
	made := a.payments.create(r)
	a.noteKey(made)
	switch made.fate {
	case accepted:
		r.escrowID.String, r.escrowID.Valid, r.state = made.escrowID, true, "locked"
		return r, a.ledger.put("UPDATE escrows SET escrow_id = ?, state = 'locked' WHERE id = ?", made.escrowID, r.id), nil
	case unknown:
		a.review(r.id, "create: "+made.why+" "+made.escrowID)
		return r, nil, unknownPayment
	}
	slog.Warn("no escrow could be created", "error", made.why)
	if err := a.ledger.set("DELETE FROM escrows WHERE id = ? AND state = 'creating'", r.id); err != nil {
		slog.Error("the ledger cannot be written", "error", err)
	}
	return r, nil, refusal{503, "payments_unavailable", "the payment service cannot be charged now; nothing was charged", max(made.wait, time.Second)}
}

func (a *agent) worked(r row, prompt string) (answer, error) {
	ctx, cancel := context.WithTimeout(a.ended, a.settings.perTask)
	result, err := a.work(ctx, prompt)
	cancel()
	if a.ended.Err() != nil {
		return answer{}, refusal{503, "stopping", "this Machine stops; what was locked is returned at its next start", 0}
	}
	if err != nil {
		charged := "what was locked is being returned"
		if a.settle(r, "cancel", "") == "cancelled" {
			charged = "nothing was charged"
		}
		return answer{}, refusal{502, "work_failed", fmt.Sprintf("%v; %s", err, charged), 0}
	}
	found := answer{Result: result, Cost: r.amount.number(), EscrowID: r.escrowID.String, Region: r.region, PaidBy: "agent"}
	text, err := json.Marshal(found)
	if err != nil {
		return answer{}, refusal{500, "failed", "the result cannot be written", 0}
	}
	found.Status = a.settle(r, "release", string(text))
	return found, nil
}

const noted = `UPDATE escrows SET state = 'settling', intent = ?, answer = 'sent', answered_ms = ?, attempts = attempts + 1,
  result = coalesce(nullif(?, ''), result), settlement = NULL, version = version + 1
  WHERE id = ? AND escrow_id IS NOT NULL AND settled_ms IS NULL`

const closed = `UPDATE escrows SET state = ?, answer = ?, answered_ms = ?, paid_micro = ?, fee_micro = ?, note = ?, settled_ms = ?,
  version = version + 1 WHERE id = ? AND settled_ms IS NULL`

// settle writes down that the act is being sent, together with the result, sends it once, and writes down the answer.
// It returns the state; what is left goes on in the background.
func (a *agent) settle(r row, intent, result string) string {
	if err := a.ledger.set(noted, intent, nowMs(), result, r.id); err != nil {
		slog.Error("the ledger cannot be written", "error", err)
		return "settling"
	}
	r.intent.String, r.intent.Valid = intent, true
	done := a.payments.settle(intent, r)
	a.noteKey(done)
	state, note := map[string]string{"release": "released", "cancel": "cancelled"}[intent], ""
	switch done.fate {
	case retryable: // nothing happened: take the note back, and try again later
		slog.Warn("not settled yet", "escrow", r.escrowID.String, "error", done.why)
		_ = a.ledger.set("UPDATE escrows SET answer = NULL, attempts = attempts - 1 WHERE id = ?", r.id)
		a.finishLater(r.id, max(done.wait, firstDelay))
		return "settling"
	case conflict, refused, unknown:
		state, note = "review", fmt.Sprintf("%s: %s", intent, done.why)
		slog.Error("an escrow needs a manual decision", "escrow", r.escrowID.String, "error", note)
	}
	var paid, fee any
	if state == "released" && done.paid != nil && *done.paid != r.amount { // all of it may be the amount before the fee
		paid, fee = int64(*done.paid), int64(r.amount-*done.paid)
	}
	if err := a.ledger.set(closed, state, fateNames[done.fate], nowMs(), paid, fee, note, nowMs(), r.id); err != nil {
		slog.Error("an outcome could not be written down", "escrow", r.escrowID.String, "outcome", state, "error", err)
	}
	return state
}

func (a *agent) review(id, why string) {
	slog.Error("an inference needs a manual decision", "id", id, "error", why)
	if err := a.ledger.set("UPDATE escrows SET state = 'review', note = ?, settled_ms = ? WHERE id = ?", why, nowMs(), id); err != nil {
		slog.Error("the ledger cannot be written", "error", err)
	}
}

func (a *agent) noteKey(done outcome) {
	if done.badKey || done.fate == accepted {
		a.keyWrong.Store(done.badKey)
	}
}

// recover begins to finish what an earlier process of this Machine left open. What another Machine began stays as it
// is: this ledger may be a copy (a fork or a snapshot of its volume), and that Machine may be working still.
func (a *agent) recover() (own int, err error) {
	left, err := a.ledger.unfinished()
	others := map[string]int{}
	for _, r := range left {
		if r.machine == a.settings.machine {
			own++
			a.finishLater(r.id, 0)
		} else {
			others[r.machine]++
		}
	}
	for machine, count := range others {
		slog.Error(fmt.Sprintf("%d unfinished inferences are left alone: Machine %s began them, and may be working on them; "+
			"if it is gone for good, set their machine in the ledger to this one's and restart", count, machine))
	}
	return own, err
}

// drain stops finishing; the rest waits in the ledger.
func (a *agent) drain() {
	a.end()
	a.finishing.Wait()
}

func (a *agent) finishLater(id string, after time.Duration) {
	if a.ended.Err() != nil {
		return
	}
	a.finishing.Add(1)
	go func() {
		defer a.finishing.Done()
		select {
		case <-a.ended.Done():
		case <-time.After(after):
			a.finish(id)
		}
	}()
}

// mayArrive is whether what was sent may be under way still. A time to come was noted by a clock that was ahead.
func (a *agent) mayArrive(r row) bool {
	age := nowMs() - r.answeredMs
	return age >= 0 && age < a.settings.patience.Milliseconds()
}

// finish is for one whose caller is gone: nobody would get the result of work that was not done yet.
func (a *agent) finish(id string) {
	r, err := a.ledger.byID(id)
	if err != nil {
		slog.Error("the ledger cannot be read", "error", err)
		return
	}
	switch {
	case r.settledMs.Valid:
	case r.state == "creating":
		a.review(id, "the agent stopped while it created the escrow, and this dialect has no way to look for it")
	case r.state == "locked":
		a.settle(r, "cancel", "")
	case !r.answer.Valid:
		a.settle(r, r.intent.String, "")
	case r.answer.String == "sent" && a.mayArrive(r):
		a.finishLater(id, a.settings.patience)
	default:
		note := "%s: the answer was " + strconv.Quote(r.answer.String) + ", and this dialect cannot read the escrow"
		if err := a.ledger.set(closed, "review", r.answer.String, r.answeredMs, nil, nil,
			fmt.Sprintf(note, r.intent.String), nowMs(), id); err != nil {
			slog.Error("the ledger cannot be written", "error", err)
		}
	}
}
