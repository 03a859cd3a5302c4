package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// entry is one line of a ledger: one call as the function saw it.
type entry struct {
	Event    string // start or end
	ID       string
	Try      int
	Last     string
	Key      string // query parameter key
	Pid      int
	At       time.Time
	InFlight int64
	Status   int
}

// serveFunction is a function whose every call is in the ledger before it is answered, so that kills lose nothing of it.
// GET /?ms=&fail=&status=&key=: takes ms, and answers status on the first fail tries.
func serveFunction(path string) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	var inFlight atomic.Int64
	write := func(e entry) {
		e.Pid, e.At = os.Getpid(), time.Now()
		line, _ := json.Marshal(e)
		if _, err := file.Write(append(line, '\n')); err != nil {
			panic(err)
		}
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		e := entry{ID: r.Header.Get("SlimFaas-Element-Id"), Last: r.Header.Get("Slimfaas-Last-Try"), Key: q.Get("key")}
		e.Try, _ = strconv.Atoi(r.Header.Get("SlimFaas-Try-Number"))
		e.Event, e.InFlight = "start", inFlight.Add(1)
		write(e)
		ms, _ := strconv.Atoi(q.Get("ms"))
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-r.Context().Done():
		}
		e.Event, e.Status = "end", http.StatusOK
		if fail, _ := strconv.Atoi(q.Get("fail")); e.Try < fail {
			e.Status, _ = strconv.Atoi(q.Get("status"))
		}
		inFlight.Add(-1)
		write(e)
		w.WriteHeader(e.Status)
		_, _ = fmt.Fprintf(w, "pid %d", os.Getpid())
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { _ = server.Serve(listener) }()
	<-ctx.Done()
	_ = server.Close() // at once: a call that is cut shows in the ledger as started and not ended
}

// readLedger returns all that the function has written.
func readLedger(t *testing.T, path string) (entries []entry) {
	t.Helper()
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) == nil { // a killed process may leave half a line
			entries = append(entries, e)
		}
	}
	return entries
}

// ended returns the entries of calls that were answered with a status below 400, by call id.
func ended(entries []entry) map[string]int {
	count := map[string]int{}
	for _, e := range entries {
		if e.Event == "end" && e.Status < 400 {
			count[e.ID]++
		}
	}
	return count
}
