package main

import (
	"fmt"
	"net/http"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var buckets = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}

// metrics are what this process counts, in Prometheus' text format.
type metrics struct {
	ledger   *ledger
	inFlight atomic.Int64
	mutex    sync.Mutex
	requests map[string]int64
	counts   []int64
	seconds  float64
	total    int64
}

func newMetrics(l *ledger) *metrics {
	return &metrics{ledger: l, requests: map[string]int64{}, counts: make([]int64, len(buckets))}
}

func (m *metrics) observe(result string, took time.Duration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.requests[result]++
	m.total++
	m.seconds += took.Seconds()
	for i, bound := range buckets {
		if took.Seconds() <= bound {
			m.counts[i]++
		}
	}
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write([]byte(m.text()))
	})
	return mux
}

func (m *metrics) text() string {
	var page strings.Builder
	names := contract.AgentMetric
	say := func(format string, values ...any) { fmt.Fprintf(&page, format+"\n", values...) }
	m.mutex.Lock()
	say("# TYPE %s counter", names["REQUESTS"])
	results := make([]string, 0, len(m.requests))
	for result := range m.requests {
		results = append(results, result)
	}
	sort.Strings(results)
	for _, result := range results {
		say("%s{outcome=%q} %d", names["REQUESTS"], result, m.requests[result])
	}
	say("# TYPE %s histogram", names["SECONDS"])
	for i, bound := range buckets {
		say("%s_bucket{le=\"%g\"} %d", names["SECONDS"], bound, m.counts[i])
	}
	say("%s_bucket{le=\"+Inf\"} %d", names["SECONDS"], m.total)
	say("%s_sum %g\n%s_count %d", names["SECONDS"], m.seconds, names["SECONDS"], m.total)
	m.mutex.Unlock()
	say("# TYPE %s gauge\n%s %d", names["IN_FLIGHT"], names["IN_FLIGHT"], m.inFlight.Load())
	totals, err := m.ledger.earnings()
	if err != nil {
		return page.String() // nothing, not zero
	}
	for metric, value := range map[string]func(total) string{
		names["ESCROWS"]: func(t total) string { return fmt.Sprint(t.escrows) },
		names["AMOUNT"]:  func(t total) string { return t.amount.String() },
	} {
		say("# TYPE %s gauge", metric)
		for _, t := range totals {
			say("%s{region=%q,state=%q} %s", metric, t.region, t.state, value(t))
		}
	}
	return page.String()
}
