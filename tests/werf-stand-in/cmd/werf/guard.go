package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"werf.io/operator/tests/werf-stand-in/internal/deploy"
)

const (
	// terminated is what a shell reports for a process ended by SIGTERM.
	terminated = 128 + int(syscall.SIGTERM)
	// farewell bounds the release of the lock, so that a signal ends the process within a second.
	farewell = 700 * time.Millisecond
)

// guard gives the lock back when the process is told to stop.
type guard struct {
	mu   sync.Mutex
	lock *deploy.Lock
}

func newGuard() *guard {
	g := &guard{}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		received := <-signals
		fmt.Fprintf(os.Stderr, "Stopped by signal: %s\n", received)
		g.release()
		os.Exit(terminated)
	}()
	return g
}

// Hold implements deploy.Guard.
func (g *guard) Hold(lock *deploy.Lock) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lock = lock
}

// Abort implements deploy.Guard.
func (g *guard) Abort(err error) {
	fmt.Fprintf(os.Stderr, "Error: %s\n", err)
	os.Exit(1)
}

func (g *guard) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lock == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	g.lock.Release(ctx)
}
