package dispatcher

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// script answers the attempts of a function with one handler after the other; the last one stays.
func script(handlers ...http.HandlerFunc) http.HandlerFunc {
	var next atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		handlers[min(int(next.Add(1)), len(handlers))-1](w, r)
	}
}

func retryLater(status int, after string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", after)
		w.WriteHeader(status)
	}
}

// aborted breaks the connection before an answer.
func aborted(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestRetriesKeepTheirDelaysAndHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, script(answer(500), aborted, answer(200)))
	r.put(spec("f", retries(1, 2)), b)
	id := r.publish("f", "body")
	r.dispatch()
	r.awaitEmpty("f")
	calls := b.calls()
	if len(calls) != 3 {
		t.Fatalf("%d attempts", len(calls))
	}
	for i, c := range calls {
		last := strconv.FormatBool(i == 2)
		if c.id != id || c.request.Header.Get("X-Call-Id") != id || c.try != strconv.Itoa(i) || c.last != last || c.body != "body" {
			t.Errorf("attempt %d: id %q (want %q), try %q, last %q, body %q", i, c.id, id, c.try, c.last, c.body)
		}
	}
	for i, delay := range []time.Duration{time.Second, 2 * time.Second} {
		got := calls[i+1].at.Sub(calls[i].until)
		if got < delay {
			t.Errorf("attempt %d came %s after the end of the one before, want %s", i+1, got, delay)
		}
	}
	r.awaitNoRecords("f")
}

func (r *rig) awaitNoRecords(name string) { r.t.Helper(); r.awaitRecords(name, 0) }

func (r *rig) awaitRecord(name string) { r.t.Helper(); r.awaitRecords(name, 1) }

// awaitRecords waits until as many attempt records of the function are kept.
func (r *rig) awaitRecords(name string, count int) {
	r.t.Helper()
	attempts, err := r.bus.OpenAttempts(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	slowly(r.t, 10*time.Millisecond, "as many attempt records as there should be", func() bool {
		records, err := attempts.Load(r.t.Context(), name)
		return err == nil && len(records) == count
	})
}

func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, script(retryLater(429, "1"), retryLater(503, "0"), answer(200)))
	r.put(spec("f", retries(30, 30)), b)
	r.publish("f", "")
	r.dispatch()
	r.awaitEmpty("f")
	calls := b.calls()
	if len(calls) != 3 {
		t.Fatalf("%d attempts", len(calls))
	}
	if got := calls[1].at.Sub(calls[0].until); got < time.Second || got > 20*time.Second {
		t.Errorf("the second attempt came after %s, want 1s and not 30s", got)
	}
	if got := calls[2].at.Sub(calls[1].until); got > 20*time.Second {
		t.Errorf("the third attempt came after %s, want at once and not 30s", got)
	}
}

// Attempts without a delay come back at once: none may be mistaken for the one that has just ended.
func TestRetriesWithoutDelay(t *testing.T) {
	t.Parallel()
	const calls, attempts = 60, 5
	r := newRig(t, longAckWait)
	b := newBackend(t, nil, answer(500))
	r.publishMany("f", calls)
	r.put(spec("f", retries(0, 0, 0, 0)), b)
	r.dispatch()
	r.awaitEmpty("f")
	if b.count() != calls*attempts {
		t.Errorf("%d attempts of %d calls", b.count(), calls)
	}
}

func TestWaitingRetryHoldsNoSlot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var failing atomic.Pointer[string]
	b := newBackend(t, nil, nil)
	b.handle = func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("SlimFaas-Element-Id") == *failing.Load() && req.Header.Get("SlimFaas-Try-Number") == "0" {
			w.WriteHeader(500)
		}
	}
	first := r.publish("f", "fails")
	failing.Store(&first)
	for range 20 {
		r.publish("f", "")
	}
	r.put(spec("f", parallel(1, 0), retries(3)), b)
	r.dispatch()
	r.awaitEmpty("f")
	calls := b.calls()
	if len(calls) != 22 || calls[0].id != first {
		t.Fatalf("%d attempts, the first of %q", len(calls), calls[0].id)
	}
	second := slices.IndexFunc(calls, func(c seen) bool { return c.id == first && c.try == "1" })
	if second < 2 || calls[second].at.Sub(calls[0].until) < 3*time.Second {
		t.Errorf("the second attempt was number %d: nothing ran in the meantime", second)
	}
}

// listener accepts connections and handles each as a function would that does not speak HTTP well.
func listener(t *testing.T, handle func(net.Conn)) (address string, end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			handle(conn)
			_ = conn.Close()
		}
	}()
	return l.Addr().String(), func() { _ = l.Close(); <-done }
}

func TestFailuresAreTriedAgain(t *testing.T) {
	t.Parallel()
	refused := net.JoinHostPort("127.0.0.1", strconv.Itoa(bustest.FreePort(t)))
	garbage, closeGarbage := listener(t, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = fmt.Fprint(c, "not HTTP at all\r\n\r\n")
	})
	defer closeGarbage()
	silent, closeSilent := listener(t, func(net.Conn) {})
	defer closeSilent()
	never := newBackend(t, nil, make(gate).hold)
	tests := []struct {
		name, address, reason string
		seconds               int
	}{
		{"refused", refused, "refused", 30},
		{"garbage", garbage, "broken", 30},
		{"closed", silent, "broken", 30},
		{"never", never.address, "timeout", 1},
	}
	r := newRig(t)
	letters := r.deadLetters()
	for _, test := range tests {
		r.put(spec(test.name, retries(0, 1), timeout(test.seconds)), &backend{address: test.address})
		r.publish(test.name, "kept")
	}
	s := r.dispatch()
	for range tests {
		letter := letters.next()
		for _, test := range tests {
			if letter.Subject != "sluice.dead."+test.name {
				continue
			}
			header := letter.Header
			if header.Get("Sluice-Dead-Reason") != test.reason || header.Get("Sluice-Dead-Attempts") != "3" || string(letter.Data) != "kept" {
				t.Errorf("%s: header %v, body %q", test.name, header, letter.Data)
			}
			if got := s.counted("sluice_attempts_total", test.name, test.reason); got != 3 {
				t.Errorf("%s: %v attempts counted", test.name, got)
			}
		}
	}
	r.awaitEmpty("refused", "garbage", "closed", "never")
}

// counted reads a counter by its label values.
func (s *service) counted(name string, labels ...string) (sum float64) {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			fits := 0
			for _, pair := range metric.GetLabel() {
				for _, label := range labels {
					if pair.GetValue() == label {
						fits++
						break
					}
				}
			}
			if fits == len(metric.GetLabel()) {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}
