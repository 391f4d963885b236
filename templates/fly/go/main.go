// The Fly.io agent in Go: the same HTTP surface, ledger and metrics as the Python agent. Each inference is locked,
// worked, and released or cancelled; what is about to be sent stands in the ledger first.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	os.Exit(run())
}

// mostHeapBytes is half of the smallest Machine's memory; below it garbage is collected when the heap is five times
// what lives, which is a tenth less CPU an inference.
const mostHeapBytes = 128 << 20

func run() int {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(mostHeapBytes)
	// A commit waits for the disk in a system call. With one P, as on one CPU, nothing else would run meanwhile, and few
	// writes would join the next commit: a quarter of the inferences a second at 200 callers.
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	s, wrong := readSettings()
	if len(wrong) > 0 {
		for _, line := range wrong {
			slog.Error(line)
		}
		return contract.ExitCode["BAD_INPUT"]
	}
	l, err := openLedger(s)
	if err != nil {
		slog.Error(err.Error())
		return contract.ExitCode["BAD_INPUT"]
	}
	defer l.close()
	if err := serve(stop, s, l); err != nil {
		slog.Error(err.Error())
		return contract.ExitCode["BAD_INPUT"]
	}
	return contract.ExitCode["OK"]
}

// serve returns once it was asked to stop and what was under way has ended.
func serve(stop context.Context, s *settings, l *ledger) error {
	a, m := newAgent(s, l), newMetrics(l)
	serving, err := net.Listen("tcp", ":"+strconv.Itoa(s.port)) // both families: .internal names are IPv6 only
	if err != nil {
		return err
	}
	figures, err := net.Listen("tcp", ":"+strconv.Itoa(s.metricsPort))
	if err != nil {
		return err
	}
	left, err := a.recover()
	if err != nil {
		return err
	}
	defer a.drain()
	servers := map[net.Listener]*http.Server{
		serving: bounded((&server{agent: a, metrics: m}).handler(), s.perTask),
		figures: bounded(m.handler(), 0),
	}
	failed := make(chan error, len(servers))
	for listener, each := range servers {
		go func() { failed <- each.Serve(listener) }()
	}
	slog.Info("agent ready", "region", s.region, "unfinished", left)
	select {
	case err = <-failed:
		return err
	case <-stop.Done():
	}
	a.stopping.Store(true)
	ending, cancel := context.WithTimeout(context.Background(), s.graceful)
	defer cancel()
	if err := servers[serving].Shutdown(ending); errors.Is(err, context.DeadlineExceeded) {
		slog.Warn("some requests did not end in time; what they began is finished at the next start")
	}
	_ = servers[figures].Close()
	return nil
}

func bounded(handler http.Handler, work time.Duration) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 40 * time.Second,
		WriteTimeout: 3*exchangeSeconds*time.Second + 2*work, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
	}
}
