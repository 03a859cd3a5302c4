package dispatcher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// large returns a body that does not repeat itself, and its hash.
func large(size int) (body []byte, sum string) {
	body = make([]byte, size)
	block := sha256.Sum256([]byte(strconv.Itoa(size)))
	for i := 0; i < size; i += len(block) {
		block = sha256.Sum256(block[:])
		copy(body[i:], block[:])
	}
	hash := sha256.Sum256(body)
	return body, hex.EncodeToString(hash[:])
}

// publishLarge queues a call whose body goes to the object store.
func (r *rig) publishLarge(name string, body []byte) (id string) {
	r.t.Helper()
	if err := r.bus.EnsureBodies(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	id, err := r.bus.PublishCall(r.t.Context(), bus.Call{
		Function: name, Method: http.MethodPut, Path: "/large", Reader: bytes.NewReader(body), Size: int64(len(body)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// stored is the stream behind the object store.
func (r *rig) stored() jetstream.Stream {
	r.t.Helper()
	js, err := jetstream.New(r.raw())
	if err != nil {
		r.t.Fatal(err)
	}
	stream, err := js.Stream(r.t.Context(), "OBJ_sluice-bodies")
	if err != nil {
		r.t.Fatal(err)
	}
	return stream
}

func (r *rig) awaitNothingStored() {
	r.t.Helper()
	stream := r.stored()
	slowly(r.t, 20*time.Millisecond, "nothing is left in the object store", func() bool {
		info, err := stream.Info(r.t.Context())
		return err == nil && info.State.Msgs == 0
	})
}

// hashing answers what it is told after it has read all, and remembers the hash of what it read.
func hashing(sums chan<- string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		hash := sha256.New()
		n, _ := io.Copy(hash, req.Body)
		if req.ContentLength == n {
			sums <- hex.EncodeToString(hash.Sum(nil))
		} else {
			sums <- "not whole"
		}
		then(w, req)
	}
}

// newStreaming starts a replica that is not kept from reading the body itself.
func newStreaming(t *testing.T, handle http.HandlerFunc) *backend {
	b := newBackend(t, nil, handle)
	b.streams = true
	return b
}

// A body too large for a message reaches the function whole, on each attempt, and nothing of it is left behind.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body, sum := large(20 << 20)
	sums := make(chan string, 10)
	refuses := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) } // without reading
	b := newStreaming(t, script(refuses, hashing(sums, answer(200))))
	r.put(spec("f", retries(0), timeout(300)), b)
	id := r.publishLarge("f", body)
	s := r.dispatch()
	r.awaitEmpty("f")
	r.awaitNothingStored()
	if got := <-sums; got != sum {
		t.Errorf("the function got %s, want %s", got, sum)
	}
	calls := b.calls()
	if len(calls) != 2 || calls[1].id != id || calls[1].request.Method != http.MethodPut || calls[1].request.URL.Path != "/large" {
		t.Errorf("attempts %+v", calls)
	}
	eventually(t, "the end is counted", func() bool { return s.counted("sluice_queued_calls_ended_total", "f", "success") == 1 })
}

// The same for each way in which an attempt can fail that has read the body.
func TestLargeBodyOfEachAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body, sum := large(1 << 20)
	sums := make(chan string, 10)
	b := newStreaming(t, script(hashing(sums, answer(503)), hashing(sums, aborted), hashing(sums, answer(429)), hashing(sums, answer(200))))
	f := spec("f", retries(0, 0, 0))
	f.Configuration.DefaultAsync.HTTPStatusRetries = []int{429, 503}
	r.put(f, b)
	r.publishLarge("f", body)
	r.dispatch()
	r.awaitEmpty("f")
	r.awaitNothingStored()
	for range 4 {
		if got := <-sums; got != sum {
			t.Errorf("the function got %s, want %s", got, sum)
		}
	}
}

// A body is kept with the dead letter that needs it.
func TestLargeBodyOfADeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body, _ := large(2 << 20)
	r.put(spec("f"), newStreaming(t, answer(404)))
	r.publishLarge("f", body)
	letters := r.deadLetters()
	r.dispatch(func(c *Config) { c.BodySweepInterval, c.BodySweepGrace = 50*time.Millisecond, time.Millisecond })
	if letter := letters.next(); letter.Header.Get("Sluice-Dead-Reason") != "status" || len(letter.Data) != 0 {
		t.Errorf("%v, %d bytes", letter.Header, len(letter.Data))
	}
	r.awaitEmpty("f")
	stream := r.stored()
	holdsFor(t, 300*time.Millisecond, "the body is kept", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs > 1
	})
}

// A body that is gone is a dead letter that says so; the function is not called.
func TestLargeBodyThatIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body, _ := large(2 << 20)
	letters := r.deadLetters()
	b := newStreaming(t, answer(200))
	r.put(spec("f", retries(1)), b)
	r.publishLarge("f", body)
	if err := r.stored().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := r.dispatch()
	letter := letters.next()
	if letter.Header.Get("Sluice-Dead-Reason") != "body_lost" || letter.Header.Get("Sluice-Dead-Attempts") != "0" {
		t.Errorf("%v", letter.Header)
	}
	r.awaitEmpty("f")
	if b.count() != 0 {
		t.Errorf("%d attempts", b.count())
	}
	eventually(t, "it is counted", func() bool { return s.counted("sluice_dead_calls_total", "f", "body_lost") == 1 })
}

// NATS goes away while a body is on its way: that is no attempt, and the call is delivered when it is back.
func TestServerRestartsInTheMiddleOfALargeBody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body, sum := large(20 << 20)
	sums, begun, g := make(chan string, 100), make(chan struct{}, 100), make(gate)
	b := newStreaming(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.ReadFull(req.Body, make([]byte, 1<<20))
		begun <- struct{}{}
		<-g
		hashing(sums, answer(200))(w, req)
	})
	r.put(spec("f", timeout(300)), b) // one attempt only
	r.publishLarge("f", body)
	r.settings.PublishPatience = 3 * time.Second // what is tried again must get through on a busy machine
	letters := r.deadLetters()
	s := r.dispatch()
	<-begun
	r.server.Stop()
	close(g)
	eventually(t, "the attempt has failed", func() bool { return s.counted("sluice_attempts_total", "f", "body_unavailable") > 0 })
	if got := <-sums; got == sum {
		t.Error("the body was whole: the server was stopped too late")
	}
	b.then(hashing(sums, answer(200)))
	r.server.Start()
	r.awaitEmpty("f")
	for got := ""; got != sum; {
		select {
		case got = <-sums:
		default:
			t.Fatal("the function did not get the whole body")
		}
	}
	calls := b.calls()
	if last := calls[len(calls)-1]; last.try != "0" || last.last != "true" {
		t.Errorf("the last attempt: try %s, last %s", last.try, last.last)
	}
	letters.none(50 * time.Millisecond)
	r.awaitNothingStored()
}

// NATS does not go on in the middle of a body for longer than the function may take: that is not the function's fault.
func TestStoredBodyThatStalls(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body, sum := large(20 << 20)
	sums, begun, g := make(chan string, 100), make(chan struct{}, 100), make(gate)
	b := newStreaming(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.ReadFull(req.Body, make([]byte, 1<<20))
		begun <- struct{}{}
		<-g
		hashing(sums, answer(200))(w, req)
	})
	r.put(spec("f", timeout(20)), b)
	r.publishLarge("f", body)
	letters := r.deadLetters()
	s := r.dispatch()
	<-begun
	r.server.Stop()
	b.then(hashing(sums, answer(200)))
	close(g)
	eventually(t, "the attempt has failed", func() bool { return s.counted("sluice_attempts_total", "f", "body_unavailable") > 0 })
	r.server.Start()
	r.awaitEmpty("f")
	last := ""
	for len(sums) > 0 {
		last = <-sums
	}
	if last != sum {
		t.Error("the function did not get the whole body")
	}
	letters.none(50 * time.Millisecond)
}

// A function that breaks off in the middle of a large body has failed: that is an attempt.
func TestFunctionBreaksOffALargeBody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body, _ := large(20 << 20)
	letters := r.deadLetters()
	b := newStreaming(t, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.ReadFull(req.Body, make([]byte, 1<<20))
		aborted(w, req)
	})
	g := make(gate)
	defer close(g)
	slow := newStreaming(t, func(http.ResponseWriter, *http.Request) { <-g })
	r.put(spec("breaks", retries(0)), b)
	r.put(spec("slow", retries(0), timeout(2)), slow)
	r.publishLarge("breaks", body)
	r.publishLarge("slow", body)
	r.dispatch()
	want := map[string]string{"sluice.dead.breaks": "broken", "sluice.dead.slow": "timeout"}
	for range want {
		letter := letters.next()
		if letter.Header.Get("Sluice-Dead-Reason") != want[letter.Subject] || letter.Header.Get("Sluice-Dead-Attempts") != "2" {
			t.Errorf("%s: %v", letter.Subject, letter.Header)
		}
	}
}

// The dispatcher dies in the middle of a large body; what nobody needs is swept at its start.
func TestDispatcherDiesInTheMiddleOfALargeBody(t *testing.T) {
	t.Parallel()
	r := newRig(t, shortAckWait)
	body, sum := large(4 << 20)
	sums, begun, g := make(chan string, 10), make(chan struct{}, 10), make(gate)
	b := newStreaming(t, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.ReadFull(req.Body, make([]byte, 1<<20))
		begun <- struct{}{}
		<-g
	})
	r.put(spec("f"), b)
	id := r.publishLarge("f", body)
	orphan, cancel := context.WithCancel(t.Context())
	cut := io.MultiReader(bytes.NewReader(body), readerFunc(func([]byte) (int, error) { cancel(); return 0, context.Canceled }))
	if _, err := r.bus.PublishCall(orphan, bus.Call{Function: "f", Method: "POST", Path: "/", Reader: cut, Size: -1}); err == nil {
		t.Fatal("a body that was cut off was accepted")
	}
	theirs := r.connect()
	first := r.dispatchOver(theirs)
	<-begun
	theirs.Close()
	first.interrupt()
	close(g)
	eventually(t, "the function is rid of it", func() bool { return b.count() == 1 })
	b.then(hashing(sums, answer(200)))
	r.dispatch(func(c *Config) { c.BodySweepInterval, c.BodySweepGrace = 100*time.Millisecond, time.Millisecond })
	r.awaitEmpty("f")
	if got := <-sums; got != sum {
		t.Errorf("the function got %s, want %s", got, sum)
	}
	if calls := b.calls(); len(calls) != 2 || calls[1].id != id || calls[1].try != "0" {
		t.Errorf("attempts %+v", calls)
	}
	r.awaitNothingStored()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestDecideBody(t *testing.T) {
	lost := decideBody(bus.ErrBodyLost)
	if lost.verdict != bury || lost.reason != "body_lost" || lost.detail == "" || !lost.unsent {
		t.Errorf("%+v", lost)
	}
	away := decideBody(bus.ErrUnavailable)
	if away.verdict != handBack || away.delay != bodyDelay || !strings.Contains(away.detail, "NATS") {
		t.Errorf("%+v", away)
	}
}
