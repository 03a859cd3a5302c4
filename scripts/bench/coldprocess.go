package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"
)

const roleFunction = "function"

// ownProbe is the pause between two looks at whether a process accepts connections yet.
const ownProbe = 100 * time.Microsecond

// runFunction is a small web server on PORT that sends news of each call to the address of its argument. It ends with
// SIGTERM.
func runFunction(args []string) error {
	reporter, err := new(net.Dialer).DialContext(context.Background(), "udp", args[0])
	if err != nil {
		return fmt.Errorf("find %s: %w", args[0], err)
	}
	server := &http.Server{
		Addr: net.JoinHostPort("127.0.0.1", os.Getenv("PORT")), ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			_, _ = fmt.Fprintf(reporter, "%d %d", os.Getpid(), time.Now().UnixNano()) // its loss fails the run
		}),
	}
	return server.ListenAndServe()
}

// own is the time of the process alone, from its start to its first accepted connection.
func (c *coldStart) own(ctx context.Context) (time.Duration, error) {
	port, err := freePort(ctx)
	if err != nil {
		return 0, err
	}
	address := net.JoinHostPort("127.0.0.1", port)
	ctx, cancel := context.WithTimeout(ctx, coldPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.bench.self, childArgument, roleFunction, c.news.address()) // #nosec G204 -- this binary
	cmd.Env = append(os.Environ(), "PORT="+port)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start a process: %w", err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }() // its end does not matter
	ticker := time.NewTicker(ownProbe)
	defer ticker.Stop()
	for {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
			took := time.Since(start)
			return took, conn.Close()
		}
		select {
		case <-ctx.Done():
			return 0, errors.New("the process does not listen")
		case <-ticker.C:
		}
	}
}

func freePort(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, errors.Join(err, listener.Close())
}

// news is where functions say that they handle a call.
type news struct{ conn net.PacketConn }

// handled is one call at a function.
type handled struct {
	pid int
	at  time.Time
}

func listenForNews(ctx context.Context) (*news, error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for news: %w", err)
	}
	return &news{conn}, nil
}

func (n *news) address() string { return n.conn.LocalAddr().String() }

func (n *news) close() { _ = n.conn.Close() }

// next waits for the next call at any function.
func (n *news) next() (handled, error) {
	if err := n.conn.SetReadDeadline(time.Now().Add(coldPatience)); err != nil {
		return handled{}, fmt.Errorf("set a deadline: %w", err)
	}
	buffer := make([]byte, 64)
	length, _, err := n.conn.ReadFrom(buffer)
	if err != nil {
		return handled{}, fmt.Errorf("wait for news of a call: %w", err)
	}
	var h handled
	var nanoseconds int64
	if _, err := fmt.Sscanf(string(buffer[:length]), "%d %d", &h.pid, &nanoseconds); err != nil {
		return handled{}, fmt.Errorf("read the news %s: %w", strconv.Quote(string(buffer[:length])), err)
	}
	h.at = time.Unix(0, nanoseconds)
	return h, nil
}
