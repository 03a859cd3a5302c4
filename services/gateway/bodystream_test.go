package gateway

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// bodies makes the object store, as the dispatcher does, and returns it.
func (f *fixture) bodies() jetstream.ObjectStore {
	f.t.Helper()
	if err := f.bus.EnsureBodies(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	conn := must(nats.Connect(f.nats.URL()))(f.t)
	f.t.Cleanup(conn.Close)
	js := must(jetstream.New(conn))(f.t)
	return must(js.ObjectStore(f.t.Context(), "sluice-bodies"))(f.t)
}

// stored is what the object store has: objects and bytes.
func stored(t testing.TB, store jetstream.ObjectStore) (objects int, size uint64) {
	t.Helper()
	infos, err := store.List(t.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		t.Fatal(err)
	}
	return len(infos), must(store.Status(t.Context()))(t).Size()
}

// wholeBody is the body of a queued call, wherever it is.
func wholeBody(t testing.TB, d *bus.Delivery) []byte {
	t.Helper()
	if !d.Stored() {
		return d.Call.Body
	}
	body, size, err := d.OpenBody(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	all := must(io.ReadAll(body))(t)
	if int64(len(all)) != size {
		t.Errorf("a body of %d bytes is said to have %d", len(all), size)
	}
	return all
}

// random is a body that nothing could have made up.
func random(size int64) []byte {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(body)
	return body
}

// TestLargeBodies: what no message can carry is queued all the same, with its length and without, and takes little memory.
func TestLargeBodies(t *testing.T) {
	const most = 20 << 20
	f := start(t, func(o *options) { o.config.AsyncBodyLimit, o.config.BodyBudget = most, 4<<20 })
	f.bodies()
	f.put(state("f"))
	inline := f.bus.InlineBody()
	for _, size := range []int64{inline, inline + 1, most} {
		for _, chunked := range []bool{false, true} {
			body := random(size)
			request := f.request("PUT", "/async-function/f/x?y", string(body))
			if chunked {
				request.ContentLength = -1
			}
			answer := f.do(request)
			if answer.StatusCode != http.StatusAccepted {
				t.Fatalf("%d bytes, chunked %v: %s %s", size, chunked, answer.Status, answer.body)
			}
			delivery := must(f.bus.Fetch(t.Context(), "f", 1))(t)[0]
			if delivery.ID != answer.Header.Get("X-Call-Id") || delivery.Stored() != (size > inline) || delivery.Call.Method != "PUT" {
				t.Errorf("%d bytes, chunked %v: stored %v, %s", size, chunked, delivery.Stored(), delivery.ID)
			}
			if !bytes.Equal(wholeBody(t, delivery), body) {
				t.Errorf("%d bytes, chunked %v: another body is queued", size, chunked)
			}
			if err := delivery.Done(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if f.room() != f.config.BodyBudget {
		t.Errorf("%d of the budget are left", f.room())
	}
}

// TestLargeBodiesAreBounded: the limit holds while a body is streamed, and nothing of it stays.
func TestLargeBodiesAreBounded(t *testing.T) {
	const most = 3 << 20
	f := start(t, func(o *options) { o.config.AsyncBodyLimit = most })
	store := f.bodies()
	f.put(state("f"))
	for _, chunked := range []bool{false, true} {
		request := f.request("POST", "/async-function/f", strings.Repeat("x", most+1))
		if chunked {
			request.ContentLength = -1
		}
		if p := expectProblem(t, f.do(request), largeBody); !strings.Contains(p.Detail, "3145728") {
			t.Errorf("detail: %s", p.Detail)
		}
	}
	f.nothingStays(store)
}

func (f *fixture) nothingStays(store jetstream.ObjectStore) {
	f.t.Helper()
	eventually(f.t, "the object store to be empty", func() bool { objects, _ := stored(f.t, store); return objects == 0 })
	if _, size := stored(f.t, store); size > 64<<10 {
		f.t.Errorf("%d bytes stay in the object store", size)
	}
	if f.depth("f") != 0 || f.room() != f.config.BodyBudget {
		f.t.Errorf("depth %d, budget %d", f.depth("f"), f.room())
	}
}

// TestLargeBodyBreaksOff: who goes away in the middle has queued nothing.
func TestLargeBodyBreaksOff(t *testing.T) {
	f := start(t)
	store := f.bodies()
	f.put(state("f"))
	f.pace = time.Second
	part := strings.Repeat("x", 2<<20)
	const post = "POST /async-function/f HTTP/1.1\r\nHost: a\r\n"
	for _, head := range []string{post + "Content-Length: 4000000\r\n\r\n", post + "Transfer-Encoding: chunked\r\n\r\n3d0900\r\n"} {
		before := f.value(t, "sluice_calls_total", "outcome", "bad-request")
		conn, _ := dial(t, f.Addr())
		say(t, conn, head+part)
		_ = conn.Close()
		eventually(t, "the end of the call", func() bool { return f.value(t, "sluice_calls_total", "outcome", "bad-request") == before+1 })

		conn, answers := dial(t, f.Addr())
		say(t, conn, head+part)
		expectProblem(t, readAnswer(t, answers), lateBody)
	}
	f.nothingStays(store)
}

// TestLargeBodyWithoutNATS: 503, and the budget comes back.
func TestLargeBodyWithoutNATS(t *testing.T) {
	f := start(t, func(o *options) { o.settings.PublishPatience = 300 * time.Millisecond })
	f.bodies()
	f.put(state("f"))
	f.nats.Stop()
	expectProblem(t, f.send("POST", "/async-function/f", strings.Repeat("x", 2<<20)), silentQueue)
	eventually(t, "the budget to come back", func() bool { return f.room() == f.config.BodyBudget })
	f.nats.Start()
}

// TestPacedReader: the time that passes between two reads is not the caller's.
func TestPacedReader(t *testing.T) {
	client, server := connPair(t)
	p := &pacedReader{from: server, control: http.NewResponseController(deadlines{server}), pace: 200 * time.Millisecond}
	room := make([]byte, 1)
	for range 3 {
		say(t, client, "x")
		if _, err := p.Read(room); err != nil {
			t.Fatal(err)
		}
		<-time.After(p.pace * 3 / 4)
	}
	if _, err := p.Read(room); err == nil || p.spent < p.pace {
		t.Errorf("%v after %s", err, p.spent)
	}
	if _, err := p.Read(room); err == nil {
		t.Error("the time began anew")
	}
}

// deadlines is a writer whose connection has them.
type deadlines struct{ net.Conn }

func (deadlines) Header() http.Header { return nil }
func (deadlines) WriteHeader(int)     {}

func connPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	client, _ = dial(t, listener.Addr().String())
	server = must(listener.Accept())(t)
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}
