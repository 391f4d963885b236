package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	mostAnswerBytes    = 4 << 20
	defaultRetryAfter  = 20 * time.Second
	exchangeSeconds    = 30
	releaseFeePerCent  = 100 // the fee is one part in so many
	authorizationField = "Authorization"
)

// fate is what is known of a call that was sent; it says what may be sent next.
type fate int

const (
	accepted fate = iota
	retryable
	conflict
	refused
	unknown
)

var fateNames = map[fate]string{accepted: "accepted", conflict: "conflict", refused: "refused", unknown: "unknown"}

// outcome is a call's fate, with what the service said.
type outcome struct {
	fate     fate
	why      string
	wait     time.Duration
	badKey   bool
	escrowID string
	paid     *usdc
}

// payments speaks the fly dialect: it can neither read nor list, so the direct answer is all there is.
type payments struct {
	base, key, wallet string
	acting, reading   *http.Client
}

func newPayments(s *settings) *payments {
	return &payments{s.escrowURL, s.key, s.wallet, client(s.concurrency, true), client(s.concurrency, false)}
}

// client follows no redirect. One that acts uses a connection of its own for each call: on a kept one the service may
// just be hanging up, which leaves the outcome unknown, or makes the transport send a second time. Over TLS it goes on
// with the session of the one before: no second look at the certificates.
func client(connections int, acts bool) *http.Client {
	return &http.Client{
		Timeout:       exchangeSeconds * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSHandshakeTimeout:   4 * time.Second,
			TLSClientConfig:       &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(0)},
			ResponseHeaderTimeout: 10 * time.Second,
			MaxConnsPerHost:       connections,
			DisableKeepAlives:     acts,
			DisableCompression:    true,
		},
	}
}

func (p *payments) create(r row) outcome {
	return p.act("/api/escrow/create", map[string]any{
		"payer_wallet": r.payer,
		"payee_wallet": r.payee,
		"amount_usdc":  r.amount.number(),
		"description":  fmt.Sprintf("Inference (%s) [%s]", r.region, r.id),
		"metadata":     map[string]string{"fly_region": r.region, "fly_machine_id": r.machine, "token": r.id},
	}, func(answer fields) outcome {
		id, err := answer.escrowID()
		if err != nil || id == "" {
			return outcome{fate: unknown, why: fmt.Sprintf("no escrow_id: %v", err)}
		}
		if wrong := answer.contradiction("locked", r); wrong != "" {
			return outcome{fate: unknown, why: wrong, escrowID: id}
		}
		return outcome{escrowID: id}
	})
}

// settle releases or cancels.
func (p *payments) settle(intent string, r row) outcome {
	body, after := map[string]any{"escrow_id": r.escrowID.String}, "cancelled"
	if intent == "release" {
		body["auto_release"], after = true, "released"
	}
	return p.act("/api/escrow/"+intent, body, func(answer fields) outcome {
		id, err := answer.escrowID()
		status, statusErr := answer.text("status")
		paid, paidErr := answer.amount("amount_released")
		if err := errors.Join(err, statusErr, paidErr); err != nil {
			return outcome{fate: unknown, why: err.Error()}
		}
		if id == "" && status == nil && paid == nil {
			return outcome{fate: unknown, why: "the answer names neither escrow nor status nor amount"}
		}
		if id != "" && id != r.escrowID.String {
			return outcome{fate: unknown, why: "the answer is about escrow " + id}
		}
		if wrong := answer.contradiction(after, row{payee: r.payee}); wrong != "" {
			return outcome{fate: unknown, why: wrong}
		}
		net := r.amount - r.amount/releaseFeePerCent
		if paid != nil && *paid != r.amount && max(*paid-net, net-*paid) > 1 {
			return outcome{fate: unknown, why: fmt.Sprintf("%v USDC released of %v locked", *paid, r.amount)}
		}
		return outcome{paid: paid}
	})
}

// health is whether the service answers.
func (p *payments) health(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/health", nil)
	if err != nil {
		return err
	}
	answer, err := p.reading.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %d", answer.StatusCode)
	}
	return nil
}

// act sends once. The request has no idempotency header, which the service ignores, and no GetBody: with either, Go's
// transport would deliver it again where an idle connection breaks.
func (p *payments) act(path string, body map[string]any, read func(fields) outcome) outcome {
	content, err := json.Marshal(body)
	if err != nil {
		return outcome{fate: refused, why: err.Error()}
	}
	connected := false
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected = true },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path, bytes.NewReader(content))
	if err != nil {
		return outcome{fate: refused, why: err.Error()}
	}
	request.GetBody = nil
	request.Header.Set(authorizationField, "Bearer "+p.key)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "purpleflea")
	request.Header.Set("X-Request-Id", random(16))
	answer, err := p.acting.Do(request)
	if err != nil {
		if !connected {
			return outcome{fate: retryable, why: "no connection to the payment service"}
		}
		return outcome{fate: unknown, why: "no complete answer: " + strings.ReplaceAll(err.Error(), p.key, "[redacted]")}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswerBytes+1))
	if err != nil || len(text) > mostAnswerBytes {
		return outcome{fate: unknown, why: "the answer broke off, or is too long"}
	}
	return understand(answer, text, read)
}

func understand(answer *http.Response, text []byte, read func(fields) outcome) outcome {
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	found, err := object(text)
	if kind != "application/json" {
		found, err = nil, fmt.Errorf("the answer is %.40q", kind)
	}
	status, why := answer.StatusCode, fmt.Sprintf("the service answered %d", answer.StatusCode)
	switch {
	case status == 200 || status == 201:
		if err != nil {
			return outcome{fate: unknown, why: err.Error()}
		}
		return read(found)
	case status == http.StatusTooManyRequests:
		return outcome{fate: retryable, why: why, wait: retryAfter(answer)}
	case status == http.StatusUnauthorized:
		return outcome{fate: retryable, why: "the key was refused", badKey: true}
	case status == 301 || status == 307 || status == 308:
		return outcome{fate: refused, why: "the service's URL redirects elsewhere; the key was not sent there"}
	case status >= 400 && status < 500 && status != 408 && status != 425 && found != nil:
		if status == http.StatusConflict {
			return outcome{fate: conflict, why: why}
		}
		return outcome{fate: refused, why: why}
	}
	return outcome{fate: unknown, why: why}
}

// fields are an answer's, by their exact names: decoded into a struct, `Status` would fill `status`.
type fields map[string]json.RawMessage

func object(text []byte) (fields, error) {
	var found fields
	if err := json.Unmarshal(text, &found); err != nil || found == nil {
		return nil, errors.New("the answer is no JSON object")
	}
	return found, nil
}

func (f fields) text(name string) (*string, error) {
	var found *string
	raw, ok := f[name]
	if !ok {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return nil, fmt.Errorf("%s is no text", name)
	}
	return found, nil
}

func (f fields) amount(name string) (*usdc, error) {
	raw, ok := f[name]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	found, err := parseUSDC(strings.Trim(string(raw), `"`))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &found, nil
}

var escrowIDText = regexp.MustCompile(`^[A-Za-z0-9._:~@-]{1,200}$`)

func (f fields) escrowID() (string, error) {
	found, err := f.text("escrow_id")
	if err != nil || found == nil {
		return "", err
	}
	if !escrowIDText.MatchString(*found) || *found == "." || *found == ".." {
		return "", fmt.Errorf("%.40q is not an escrow id", *found)
	}
	return *found, nil
}

var statusWords = map[string]string{
	"pending": "locked", "funded": "locked", "locked": "locked", "completed": "completed", "released": "released",
	"disputed": "disputed", "refunded": "refunded", "cancelled": "cancelled",
}

// contradiction says in what an answer is not about this row, and not in this status.
func (f fields) contradiction(status string, r row) string {
	word, err := f.text("status")
	payee, payeeErr := f.text("payee_wallet")
	amount, amountErr := f.amount("amount_usdc")
	if err := errors.Join(err, payeeErr, amountErr); err != nil {
		return err.Error()
	}
	if word != nil && statusWords[*word] != status {
		return fmt.Sprintf("the escrow is %.40q, not %s", *word, status)
	}
	if payee != nil && *payee != r.payee {
		return fmt.Sprintf("the payee is %.80q", *payee)
	}
	if amount != nil && r.amount != 0 && *amount != r.amount {
		return fmt.Sprintf("%v USDC, not %v", *amount, r.amount)
	}
	return ""
}

func retryAfter(answer *http.Response) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(answer.Header.Get("Retry-After")))
	if err != nil || seconds < 0 {
		return defaultRetryAfter
	}
	return time.Duration(min(seconds, 3600)) * time.Second
}

func random(bytes int) string {
	found := make([]byte, bytes)
	_, _ = rand.Read(found)
	return hex.EncodeToString(found)
}
