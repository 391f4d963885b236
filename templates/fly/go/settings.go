package main

import (
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// settings are what the agent reads from its environment; `readSettings` names every variable that is wrong.
type settings struct {
	escrowURL, key, wallet      string
	app, region, machine        string
	data                        string
	port, metricsPort           int
	perCharacter                *big.Rat
	least, most                 usdc
	concurrency, queue          int
	patience, graceful, perTask time.Duration
	modelURL, model, modelKey   string
	feeRate, referralRate       string
}

var rateText = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,12})?$`)

// reader collects what is wrong, a line a variable.
type reader struct{ wrong []string }

func (r *reader) text(member, without string) string {
	if found := strings.TrimSpace(os.Getenv(name(member))); found != "" {
		return found
	}
	return without
}

func (r *reader) needed(member, what string) string {
	found := r.text(member, "")
	if found == "" {
		r.wrong = append(r.wrong, fmt.Sprintf("%s is not set: expected %s", name(member), what))
	}
	return found
}

func (r *reader) number(member string, least, most, without int) int {
	text := r.text(member, strconv.Itoa(without))
	found, err := strconv.Atoi(text)
	if err != nil || found < least || found > most {
		r.wrong = append(r.wrong, fmt.Sprintf("%s is %.40q: expected a whole number from %d to %d", name(member), text, least, most))
	}
	return found
}

func (r *reader) amount(member, without string) usdc {
	found, err := parseUSDC(r.text(member, without))
	if err != nil {
		r.wrong = append(r.wrong, fmt.Sprintf("%s: %v", name(member), err))
	}
	return found
}

func (r *reader) address(member string, needed bool) string {
	text := r.text(member, "")
	if text == "" && !needed {
		return ""
	}
	found, err := url.Parse(text)
	plain := strings.EqualFold(r.text("ALLOW_HTTP", "false"), "true")
	switch {
	case err != nil || found.Host == "" || found.RawQuery != "" || found.Fragment != "" ||
		(found.Scheme != "https" && found.Scheme != "http"):
		r.wrong = append(r.wrong, fmt.Sprintf("%s is not a URL like https://host[:port]", name(member)))
	case found.User != nil:
		r.wrong = append(r.wrong, fmt.Sprintf("%s carries credentials: the key belongs into its own setting", name(member)))
	case found.Scheme == "http" && !plain:
		r.wrong = append(r.wrong, fmt.Sprintf("%s would send the key in the clear: use https", name(member)))
	}
	return strings.TrimRight(text, "/")
}

func (r *reader) rate(member, without string) *big.Rat {
	text := r.text(member, without)
	found := new(big.Rat)
	if !rateText.MatchString(text) {
		r.wrong = append(r.wrong, fmt.Sprintf("%s is %.40q: expected USDC like 0.0000025", name(member), text))
		return found
	}
	found.SetString(text)
	return found
}

func readSettings() (*settings, []string) {
	r := &reader{}
	s := &settings{
		escrowURL:    r.address("ESCROW_BASE", true),
		key:          r.needed("API_KEY", "the API key, a Fly secret"),
		wallet:       r.needed("AGENT_WALLET", "the wallet that is paid"),
		app:          r.text("FLY_APP_NAME", "local"),
		region:       r.text("FLY_REGION", "local"),
		machine:      r.text("FLY_MACHINE_ID", "local"),
		data:         r.text("DATA_DIRECTORY", contract.MountPath["FLY_DATA"]),
		port:         r.number("PORT", 1, 65_535, contract.Port["FLY_AGENT"]),
		metricsPort:  r.number("METRICS_PORT", 1, 65_535, contract.Port["FLY_METRICS"]),
		perCharacter: r.rate("PRICE_PER_CHARACTER", "0.00001"),
		least:        r.amount("PRICE_LEAST", "0.001"),
		most:         r.amount("PRICE_MOST", "10"),
		concurrency:  r.number("CONCURRENCY", 1, 1000, 50),
		queue:        r.number("QUEUE_LENGTH", 0, 10_000, 200),
		patience:     time.Duration(r.number("PATIENCE_SECONDS", 1, 3600, 90)) * time.Second,
		graceful:     time.Duration(r.number("GRACEFUL_SHUTDOWN_SECONDS", 1, 299, 45)) * time.Second,
		perTask:      time.Duration(r.number("TASK_SECONDS", 1, 3600, 30)) * time.Second,
		modelURL:     r.address("MODEL_URL", false),
		model:        r.text("MODEL", ""),
		modelKey:     r.text("MODEL_KEY", ""),
		feeRate:      r.text("ESCROW_FEE", contract.FeeRate),
		referralRate: r.text("REFERRAL_RATE", contract.ReferralRate),
	}
	if len(r.wrong) == 0 && (s.least <= 0 || s.least > s.most) { // one that cannot be read is 0 here
		r.wrong = append(r.wrong, fmt.Sprintf("%s is %v: expected more than 0 and at most %v", name("PRICE_LEAST"), s.least, s.most))
	}
	if dialect := r.text("API_DIALECT", "fly"); dialect != "fly" {
		r.wrong = append(r.wrong, fmt.Sprintf("%s is %.40q: this agent speaks fly; the Python agent speaks the others", name("API_DIALECT"), dialect))
	}
	if r.text("TASK_CALLABLE", "") != "" {
		r.wrong = append(r.wrong, fmt.Sprintf("%s is for the Python agent: put the work into work.go", name("TASK_CALLABLE")))
	}
	if r.text("BACKUP_URL", "") != "" {
		r.wrong = append(r.wrong, fmt.Sprintf("%s is for the Python agent: nothing here copies the ledger", name("BACKUP_URL")))
	}
	if s.modelURL != "" && s.model == "" {
		r.wrong = append(r.wrong, fmt.Sprintf("%s is not set: expected the name of a model", name("MODEL")))
	}
	if info, err := os.Stat(s.data); err != nil || !info.IsDir() {
		r.wrong = append(r.wrong, fmt.Sprintf("there is no folder %s: mount the volume there, or set %s", s.data, name("DATA_DIRECTORY")))
	}
	return s, r.wrong
}

func (s *settings) ledgerPath() string { return filepath.Join(s.data, contract.LedgerFile) }
