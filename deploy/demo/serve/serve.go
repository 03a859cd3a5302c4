// Package serve is what the demo functions share: each is an HTTP handler, served on the port that the environment
// names until it is told to end. It uses the standard library only, as an example of how little a function needs.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// drainTime is how long calls may go on after SIGTERM: less than the 30 s that Kubernetes waits by default.
const drainTime = 25 * time.Second

// maxBody is the largest body that a demo function reads, in bytes.
const maxBody = 1 << 20

// Main serves the handler until SIGTERM or an interrupt, and exits with 1 if it cannot. The environment variable PORT
// names the port, 8080 without it; the flag -host the address, all without it.
func Main(handler http.Handler) {
	host := flag.String("host", "", "address to listen on, all if empty")
	flag.Parse()
	if err := listenAndServe(*host, handler); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func listenAndServe(host string, handler http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return fmt.Errorf("listen on PORT %q: %w", port, err)
	}
	fmt.Println("listening on", listener.Addr())
	return Serve(ctx, listener, handler)
}

// Serve answers calls until ctx ends, then lets those that run end too. GET /health is answered here, everything
// else by the handler. It closes the listener.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: withHealth(handler), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err := server.Shutdown(drain)
	if err != nil {
		err = errors.Join(fmt.Errorf("end the calls that run: %w", err), server.Close())
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// withHealth does without http.ServeMux, which would redirect paths such as //x before a handler sees them.
func withHealth(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/health" {
			_, _ = io.WriteString(w, "OK\n") // Whoever hung up needs no answer.
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// JSON answers with the value.
func JSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // Whoever hung up needs no answer.
}

// Body reads the whole body of a request. If that fails, it has answered and returns false.
func Body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, "the body is larger than 1 MiB", http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, "the body cannot be read: "+err.Error(), http.StatusBadRequest)
	}
	return body, err == nil
}

// Pause waits, and returns false if the caller of the request has gone before.
func Pause(r *http.Request, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
