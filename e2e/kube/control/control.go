// Package control lets a second process command the supervisor of a running cluster, over a Unix socket in the
// cluster's folder.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// socket is relative: the path of a socket has at most 107 bytes, which a test's temporary folder may exceed. The
	// caller's working directory is the cluster's folder.
	socket = "control.sock"

	commandLimit  = 3 * time.Minute // for one command, more than any of them waits for
	shutdownLimit = 5 * time.Second
	answerBytes   = 64 << 10
)

// Plane is what the commands act on.
type Plane interface {
	StopAPI()
	KillAPI()
	StartAPI(context.Context) error
}

// Serve answers commands until ctx ends, then waits for those that run. It calls ready once commands are heard. The
// working directory is the cluster's folder.
func Serve(ctx context.Context, plane Plane, ready func()) error {
	// A killed supervisor leaves its socket; the folder's lock says that there is no other one.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the old control socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	server := &http.Server{
		Handler:           handler(plane),
		ReadHeaderTimeout: shutdownLimit,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		err = server.Serve(listener)
	}()
	ready()
	select {
	case <-served:
		return fmt.Errorf("serve commands: %w", err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	_ = server.Shutdown(ending)
	<-served
	return nil
}

func handler(plane Plane) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /stop-api", func(http.ResponseWriter, *http.Request) { plane.StopAPI() })
	mux.HandleFunc("POST /kill-api", func(http.ResponseWriter, *http.Request) { plane.KillAPI() })
	mux.HandleFunc("POST /start-api", func(w http.ResponseWriter, r *http.Request) {
		if err := plane.StartAPI(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// Send gives the command, "stop-api", "kill-api" or "start-api", to the supervisor and waits until it is done. The working
// directory is the cluster's folder.
func Send(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://supervisor/"+command, http.NoBody)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("reach the supervisor (does a cluster run in this folder?): %w", err)
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(response.Body, answerBytes))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", command, strings.TrimSpace(string(answer)))
	}
	return nil
}
