package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// queueLimit is above what any round can queue.
const queueLimit = 10_000_000

// queue names the streams and subjects; every side uses the same.
var queue = bus.Names{Prefix: "sluice"}

// sluice is a running `sluice local`.
type sluice struct {
	child *child
	// api, ops and nats are the addresses: host:port, and a URL for nats.
	api, ops, nats string
}

// startSluice starts the product with what it keeps in data and functions of the manifests in folder.
func (b *bench) startSluice(ctx context.Context, data, manifests string, flags ...string) (*sluice, error) {
	args := append([]string{"--log-level=error", "local", "--listen=127.0.0.1:0", "--nats-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--data=" + data, "--queue-limit=" + strconv.Itoa(queueLimit)}, flags...)
	if manifests != "" {
		args = append(args, manifests)
	}
	c, err := startChild(ctx, b.sluice, args...)
	if err != nil {
		return nil, err
	}
	s := &sluice{child: c}
	if err := s.readGreeting(); err != nil {
		c.stop()
		return nil, err
	}
	if err := waitFor(ctx, childStart, func() bool { return s.get(ctx, "/ready", nil) == nil }); err != nil {
		c.stop()
		return nil, fmt.Errorf("wait until sluice is ready: %w", err)
	}
	return s, nil
}

// readGreeting takes the addresses from what a person would read, and leaves the rest unread but for a goroutine that ends
// with the process.
func (s *sluice) readGreeting() error {
	for s.api == "" || s.ops == "" || s.nats == "" {
		line, err := s.child.line()
		if err != nil {
			return fmt.Errorf("read the greeting of sluice: %w", err)
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "API":
			s.api = strings.TrimPrefix(words[1], "http://")
		case "NATS":
			s.nats = words[1]
		case "ops":
			s.ops, _, _ = strings.Cut(strings.TrimPrefix(words[1], "http://"), "/")
		}
	}
	go func() { _, _ = io.Copy(io.Discard, s.child.stdout) }()
	return nil
}

// get reads a JSON document of the API.
func (s *sluice) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.api+path, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// manifest is one function for sluice to run.
type manifest struct {
	name        string
	annotations map[string]string
}

// writeManifests writes them into one file of a new folder.
func (b *bench) writeManifests(manifests ...manifest) (folder string, err error) {
	folder, err = b.folder("manifests")
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, m := range manifests {
		fmt.Fprintf(&text, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: %s\n  annotations:\n    sluice/Function: \"true\"\n", m.name)
		for key, value := range m.annotations {
			fmt.Fprintf(&text, "    %s%s: %q\n", function.Prefix, key, value)
		}
		text.WriteString("spec:\n  replicas: 0\n  template:\n    spec:\n      containers:\n        - name: f\n")
	}
	return folder, os.WriteFile(filepath.Join(folder, "functions.yaml"), []byte(text.String()), 0o600)
}

// purge empties the queue of a NATS server, so that every round begins alike.
func purge(ctx context.Context, url string) error {
	conn, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", url, err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	stream, err := js.Stream(ctx, queue.CallsStream())
	if err != nil {
		return fmt.Errorf("look up the queue: %w", err)
	}
	return stream.Purge(ctx)
}

// waitFor polls a condition.
func waitFor(ctx context.Context, patience time.Duration, condition func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("it did not happen within %s: %w", patience, ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}
