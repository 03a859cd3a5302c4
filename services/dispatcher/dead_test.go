package dispatcher

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// letters are the dead letters as anybody sees who subscribes to them.
type letters struct {
	t   *testing.T
	sub *nats.Subscription
}

func (r *rig) deadLetters() *letters {
	r.t.Helper()
	conn := r.raw()
	sub, err := conn.SubscribeSync("sluice.dead.*")
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return &letters{t: r.t, sub: sub}
}

func (l *letters) next() *nats.Msg {
	l.t.Helper()
	msg, err := l.sub.NextMsg(patience)
	if err != nil {
		l.t.Fatalf("no dead letter: %v", err)
	}
	return msg
}

func (l *letters) none(d time.Duration) {
	l.t.Helper()
	if msg, err := l.sub.NextMsg(d); err == nil {
		l.t.Errorf("a dead letter too many: %s %v", msg.Subject, msg.Header)
	}
}

// A dead letter has the whole call and what was answered, it is stored before the call leaves the queue, and one warning says where
// it is.
func TestDeadLetterIsWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters := r.deadLetters()
	b := newBackend(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		_, _ = w.Write([]byte("no such thing"))
	})
	r.put(spec("f", retries(1, 1)), b)
	body := bytes.Repeat([]byte{0, 1, 0xff, '\r', '\n'}, 20_000)
	id, err := r.bus.PublishCall(t.Context(), bus.Call{
		Function: "f", Method: "PUT", Path: "/a%2Fb/", Query: "x=1&y", Body: body,
		Header: http.Header{"X-Tenant": {"one", "two"}, "Nats-Rollup": {"all"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := r.dispatch()
	letter := letters.next()
	want := map[string]string{
		"Sluice-Method": "PUT", "Sluice-Path": "/a%2Fb/", "Sluice-Query": "x=1&y", "Sluice-Header-Nats-Rollup": "all",
		"Sluice-Dead-Reason": "status", "Sluice-Dead-Attempts": "1", "Sluice-Dead-Call-Id": id, "Sluice-Dead-Last-Status": "404",
		"Sluice-Dead-Last-Answer": base64.StdEncoding.EncodeToString([]byte("no such thing")),
	}
	for name, value := range want {
		if got := letter.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if got := letter.Header["X-Tenant"]; len(got) != 2 || !bytes.Equal(letter.Data, body) {
		t.Errorf("X-Tenant %q, %d bytes", got, len(letter.Data))
	}
	r.awaitEmpty("f")
	if b.count() != 1 {
		t.Errorf("%d attempts", b.count())
	}
	lines := s.log.with("call given up")
	if len(lines) != 1 {
		t.Fatalf("%d warnings: %v", len(lines), lines)
	}
	line := lines[0]
	if line["level"] != "warn" || line["call"] != id || line["reason"] != "status" || line["function"] != "f" || line["show"] != "nats stream get sluice-dead 1" {
		t.Errorf("warning %v", line)
	}
	letters.none(100 * time.Millisecond)
	eventually(t, "it is counted", func() bool { return s.counted("sluice_dead_calls_total", "f", "status") == 1 })
}

// Row 19: each status that is no success ends as a dead letter, on whatever attempt.
func TestDeadLetterForEachStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters := r.deadLetters()
	statuses := []int{400, 401, 403, 404, 405, 409, 410, 413, 415, 418, 422, 429, 451, 500, 501, 502, 503, 504, 505, 599}
	for _, status := range statuses {
		for first, handler := range map[string]http.HandlerFunc{"at-once": answer(status), "later": script(answer(500), answer(status))} {
			name := fmt.Sprintf("f%d-%s", status, first)
			r.put(spec(name, retries(0)), newBackend(t, nil, handler))
			r.publish(name, name)
		}
	}
	r.dispatch()
	got := map[string]*nats.Msg{}
	for range 2 * len(statuses) {
		letter := letters.next()
		got[string(letter.Data)] = letter
	}
	for _, status := range statuses {
		retried := status == 500 || status == 502 || status == 503
		for first, attempts := range map[string]string{"at-once": map[bool]string{false: "1", true: "2"}[retried], "later": "2"} {
			name := fmt.Sprintf("f%d-%s", status, first)
			letter := got[name]
			if letter == nil || letter.Header.Get("Sluice-Dead-Last-Status") != fmt.Sprint(status) || letter.Header.Get("Sluice-Dead-Attempts") != attempts {
				t.Errorf("%s: %+v", name, letter)
			}
		}
	}
	letters.none(100 * time.Millisecond)
}

// Row 19: as long as the dead letter cannot be stored the call stays queued.
func TestDeadLetterComesBeforeTheAck(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, answer(404))
	s := r.dispatch()
	js, err := jetstream.New(r.raw())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead letters' stream is there", func() bool {
		_, err := js.Stream(t.Context(), "sluice-dead")
		return err == nil
	})
	// Full: the server refuses what is published to it.
	full := jetstream.StreamConfig{Name: "sluice-dead", Subjects: []string{"sluice.dead.*"}, Discard: jetstream.DiscardNew, MaxBytes: 1, AllowDirect: true}
	if _, err := js.UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	r.put(spec("f"), b)
	id := r.publish("f", "kept")
	eventually(t, "the end could not be settled", func() bool { return len(s.log.with("could not be settled")) > 0 })
	holdsFor(t, 200*time.Millisecond, "the call stays queued", func() bool { return r.depth("f") == 1 })
	if lines := s.log.with("call given up"); len(lines) > 0 {
		t.Errorf("given up: %v", lines)
	}
	if line := s.log.with("could not be settled")[0]; line["call"] != id || !strings.Contains(fmt.Sprint(line["error"]), "dead letter") {
		t.Errorf("warning %v", line)
	}
}
