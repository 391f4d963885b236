package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	mostBodyBytes     = 4 << 20
	mostKeyCharacters = 200
	healthSeconds     = 5 // how long an answer of the payment service's health counts
	silentSeconds     = 3 // after which it counts as one that does not answer: who asks /ready waits meanwhile
)

// server is the HTTP surface.
type server struct {
	agent   *agent
	metrics *metrics
	mutex   sync.Mutex
	asked   time.Time
	silent  string
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	route := func(method, path string, handle http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != method && (method != http.MethodGet || r.Method != http.MethodHead) {
				w.Header().Set("Allow", method)
				reply(w, http.StatusMethodNotAllowed, failure("not_found", "there is no "+r.Method+" "+path))
				return
			}
			handle(w, r)
		})
	}
	route(http.MethodGet, "/health", s.health)
	route(http.MethodGet, "/ready", s.ready)
	route(http.MethodGet, "/earnings", s.earnings)
	route(http.MethodPost, "/inference", s.inference)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusNotFound, failure("not_found", "there is no "+r.Method+" "+r.URL.Path))
	})
	return mux
}

// health asks nobody else: a check that fails takes the Machine out of routing.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"ok": true, "region": s.agent.settings.region})
}

// ready is whether an inference would be taken now.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	reasons := []string{}
	for reason, holds := range map[string]bool{
		"this Machine is about to stop": s.agent.stopping.Load(),
		"the ledger's disk is full":     !s.agent.ledger.db.hasRoom(),
		"the key was refused":           s.agent.keyWrong.Load(),
	} {
		if holds {
			reasons = append(reasons, reason)
		}
	}
	if why := s.agent.ledger.unconfirmed(); why != "" {
		reasons = append(reasons, why)
	}
	if silent := s.silence(context.WithoutCancel(r.Context())); silent != "" {
		reasons = append(reasons, silent)
	}
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, map[string]any{"ready": len(reasons) == 0, "reasons": reasons})
}

// silence asks for all who wait meanwhile, so it must not end with the request of one of them.
func (s *server) silence(ctx context.Context) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if time.Since(s.asked) > healthSeconds*time.Second {
		ctx, cancel := context.WithTimeout(ctx, silentSeconds*time.Second)
		defer cancel()
		s.silent = ""
		if err := s.agent.payments.health(ctx); err != nil {
			s.silent = "the payment service does not answer"
		}
		s.asked = time.Now() // only now, or each who waited would ask once more
	}
	return s.silent
}

func (s *server) earnings(w http.ResponseWriter, _ *http.Request) {
	totals, err := s.agent.ledger.earnings()
	if err != nil {
		slog.Error("the ledger cannot be read", "error", err)
		reply(w, http.StatusServiceUnavailable, failure("ledger_unavailable", "the ledger cannot be read"))
		return
	}
	regions, earned := map[string]map[string]any{}, usdc(0)
	for _, t := range totals {
		if regions[t.region] == nil {
			regions[t.region] = map[string]any{}
		}
		regions[t.region][t.state] = map[string]any{"escrows": t.escrows, "amount_usdc": t.amount.String()}
		if t.state == "released" {
			earned += t.amount
		}
	}
	of := s.agent.settings
	reply(w, http.StatusOK, map[string]any{
		"wallet": of.wallet, "region": of.region, "machine": of.machine, "earned_usdc": earned.String(), "regions": regions,
		"fee_rate": of.feeRate, "referral_rate": of.referralRate,
		"who_pays": "the owner of this agent's key: payer_wallet is only recorded",
	})
}

func (s *server) inference(w http.ResponseWriter, r *http.Request) {
	began, result := time.Now(), "failed"
	s.metrics.inFlight.Add(1)
	defer func() {
		s.metrics.inFlight.Add(-1)
		s.metrics.observe(result, time.Since(began))
	}()
	asked, err := readAsk(w, r)
	var found answer
	if err == nil {
		found, err = s.agent.infer(asked)
	}
	var refused refusal
	switch {
	case err == nil:
		result = found.Status
		reply(w, http.StatusOK, found)
	case errors.As(err, &refused):
		result = refused.code
		if refused.wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((refused.wait+time.Second-1)/time.Second)))
		}
		reply(w, refused.status, failure(refused.code, refused.message))
	default:
		slog.Error("an inference failed", "error", err)
		reply(w, http.StatusInternalServerError, failure("failed", "it failed"))
	}
}

func readAsk(w http.ResponseWriter, r *http.Request) (ask, error) {
	wrong := func(what string) (ask, error) { return ask{}, refusal{400, "invalid_request", what, 0} }
	keys, given := r.Header["Idempotency-Key"]
	if given && (keys[0] == "" || len(keys[0]) > mostKeyCharacters) {
		return wrong(fmt.Sprintf("an Idempotency-Key has 1 to %d characters", mostKeyCharacters))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBodyBytes))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return ask{}, refusal{413, "too_large", fmt.Sprintf("a request has at most %d bytes", mostBodyBytes), 0}
	}
	if err != nil {
		return wrong("the body broke off")
	}
	document, err := object(body)
	if err != nil || !utf8.Valid(body) {
		return wrong("expected a JSON object with payer_wallet and prompt")
	}
	payer, err := document.text("payer_wallet")
	if err != nil || (payer != nil && utf8.RuneCountInString(*payer) > mostKeyCharacters) {
		return wrong("payer_wallet is a text of at most 200 characters")
	}
	prompt, err := document.text("prompt")
	_, there := document["prompt"]
	if err != nil || (there && prompt == nil) {
		return wrong("prompt is a text")
	}
	if payer == nil || strings.TrimSpace(*payer) == "" {
		return ask{}, refusal{400, "payer_required", "payer_wallet required", 0}
	}
	found := ask{payer: strings.TrimSpace(*payer)}
	if prompt != nil {
		found.prompt = *prompt
	}
	if given {
		found.key = keys[0]
	}
	return found, nil
}

func failure(code, message string) map[string]string {
	return map[string]string{"error": code, "message": message}
}

func reply(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"failed"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
