// Command function is every program that the scenarios run inside the cluster: a function that keeps a ledger of its calls
// (serve), a load generator that works on while nobody can reach it (call), a publisher to NATS (publish), and a job (batch). It is one
// static binary, so one image is enough.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Limits of every server here.
const (
	headerTimeout = 10 * time.Second
	drainTime     = 20 * time.Second
	maxBody       = 4 << 20
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "function:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 && (len(args) == 0 || args[0] != "batch") {
		return errors.New("want one argument, serve, call or publish, or batch and its own")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	switch args[0] {
	case "serve":
		return serve(ctx)
	case "call":
		runs := newRuns()
		defer runs.stopAll()
		return listen(ctx, runs.handler())
	case "publish":
		return publish(ctx)
	case "batch":
		return batch(ctx, args[1:])
	}
	return fmt.Errorf("argument %q: want serve, call, publish or batch", args[0])
}

// listen serves on PORT until ctx ends, then lets the requests that run end.
func listen(ctx context.Context, handler http.Handler) error {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{Addr: ":" + port, Handler: handler, ReadHeaderTimeout: headerTimeout}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on PORT %q: %w", port, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err := server.Shutdown(drain)
	<-served //nolint:errcheck // it says that the server was shut down
	return err
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // whoever hung up needs no answer
}

// readJSON fills in value from the request; if it cannot, it has answered.
func readJSON(w http.ResponseWriter, r *http.Request, value any) bool {
	err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(value)
	if err != nil {
		http.Error(w, "the body is not the expected JSON: "+err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

// seconds reads an environment variable of that unit, 0 if there is none.
func seconds(name string) (time.Duration, error) {
	text := os.Getenv(name)
	if text == "" {
		return 0, nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value < 0 {
		return 0, fmt.Errorf("%s is %q: want a number of seconds", name, text)
	}
	return time.Duration(value * float64(time.Second)), nil
}

// pause waits and reports whether it could to the end.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
