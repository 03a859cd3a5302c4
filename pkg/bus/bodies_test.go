package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// ensureBodies makes all that calls with large bodies need.
func ensureBodies(t *testing.T, b *Bus) *Bus {
	t.Helper()
	for _, ensure := range []func(context.Context) error{b.EnsureCalls, b.EnsureDead, b.EnsureBodies, b.EnsureKeys} {
		if err := ensure(within(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// randomBytes are the same for the same seed.
func randomBytes(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func largeCall(function string, data []byte) Call {
	return Call{Function: function, Method: "POST", Path: "/", Reader: iotest.HalfReader(bytes.NewReader(data)), Size: int64(len(data))}
}

// readBody reads the stored body of a delivery.
func readBody(t *testing.T, d *Delivery) ([]byte, error) {
	t.Helper()
	if !d.Stored() || len(d.Call.Body) != 0 {
		t.Errorf("the body is with the message")
	}
	body, size, err := d.OpenBody(within(t, patience))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	if err == nil && int64(len(data)) != size {
		t.Errorf("%d bytes, %d were announced", len(data), size)
	}
	return data, errors.Join(err, body.Close())
}

func checkBody(t *testing.T, d *Delivery, want []byte) {
	t.Helper()
	if got, err := readBody(t, d); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the body of call %s has %d bytes of %d, or others: %v", d.ID, len(got), len(want), err)
	}
}

// left is the number of messages in the object store.
func left(t *testing.T, b *Bus) uint64 {
	t.Helper()
	stream, err := b.js.Stream(within(t, patience), b.bodies().stream())
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func sweep(t *testing.T, b *Bus, want int) {
	t.Helper()
	if removed, err := b.SweepBodies(within(t, patience), 0); err != nil || removed != want {
		t.Errorf("%d bodies were removed, not %d: %v", removed, want, err)
	}
}

func TestLargeBodyRoundTrip(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	c := consumer(t, b, "f")
	for i, size := range []int{0, 1, objectChunk, objectChunk + 1, 5*objectChunk - 1, 3 << 20} {
		data := randomBytes(size, uint64(i))
		call := largeCall("f", data)
		call.Method, call.Path, call.Header = "PUT", "/p", http.Header{"X": {"1"}}
		if i%2 == 0 {
			call.Size = -1
		}
		id := publish(t, b, call)
		d := pulled(t, c, 1)[0]
		if d.Err != nil || d.ID != id || d.Call.Method != "PUT" || d.Call.Path != "/p" || len(d.Call.Header) != 1 {
			t.Errorf("got %+v, %v", d.Call, d.Err)
		}
		checkBody(t, d, data)
		checkBody(t, d, data) // as for the next attempt
		sweep(t, b, 0)
		if err := d.Done(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		if n := left(t, b); n != 0 {
			t.Errorf("%d bytes: %d messages are left", size, n)
		}
	}
}

// A body has the form that other clients of the object store read.
func TestLargeBodyIsAnObject(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	data := randomBytes(3*objectChunk/2, 1)
	publish(t, b, largeCall("f", data))
	store, err := b.js.ObjectStore(within(t, patience), b.BodiesBucket())
	if err != nil {
		t.Fatal(err)
	}
	objects, err := store.List(within(t, patience))
	if err != nil || len(objects) != 1 {
		t.Fatalf("got %v, %v", objects, err)
	}
	if got, err := store.GetBytes(within(t, patience), objects[0].Name); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestInlineBodyIsLessThanAMessage(t *testing.T) {
	t.Parallel()
	b := connectOnly(t, "nats://127.0.0.1:1")
	if b.InlineBody() != 0 {
		t.Error("known without a server")
	}
	b = connect(t, bustest.Start(t))
	if most := b.InlineBody(); most < 1<<19 || most > b.MaxBody() {
		t.Errorf("%d of %d", most, b.MaxBody())
	}
	publish(t, b, Call{Function: "f", Body: make([]byte, b.InlineBody())})
}

// What cannot be read to its end is not queued, and nothing of it is kept; the caller gets the reader's error.
func TestBodyThatIsCutOffIsNotQueued(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	data := randomBytes(2*objectChunk+7, 1)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		reader io.Reader
		size   int64
		want   error
	}{
		"broken":      {io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)), -1, broken},
		"cut off":     {io.MultiReader(bytes.NewReader(data), iotest.ErrReader(io.ErrUnexpectedEOF)), -1, io.ErrUnexpectedEOF},
		"too short":   {bytes.NewReader(data), int64(len(data)) + 1, io.ErrUnexpectedEOF},
		"too long":    {bytes.NewReader(data), int64(len(data)) - 1, io.ErrUnexpectedEOF},
		"no progress": {stuck{}, -1, io.ErrNoProgress},
		"limited":     {http.MaxBytesReader(nil, io.NopCloser(bytes.NewReader(data)), objectChunk+1), -1, &http.MaxBytesError{Limit: objectChunk + 1}},
	} {
		for _, key := range []string{"", "k"} {
			_, err := b.PublishCall(within(t, patience), Call{Function: "f", Method: "POST", Reader: c.reader, Size: c.size, IdempotencyKey: key})
			var large *http.MaxBytesError
			limited := errors.As(err, &large) && errors.As(c.want, &large)
			if !limited && !errors.Is(err, c.want) {
				t.Errorf("%s: got %v", name, err)
			}
			if key == "" {
				c.reader = stuck{}
				c.want = io.ErrNoProgress
			}
		}
	}
	if n, calls := left(t, b), depth(t, b, "f"); n != 0 || calls != 0 {
		t.Errorf("%d messages and %d calls are left", n, calls)
	}
}

// stuck brings nothing.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestLargeBodyOfARefusedCallIsRemoved(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t), func(c *Config) { c.Settings.QueueLimit = 1 }))
	publish(t, b, Call{Function: "f"})
	for _, key := range []string{"", "k"} {
		call := largeCall("f", randomBytes(objectChunk, 1))
		call.IdempotencyKey = key
		if _, err := b.PublishCall(within(t, patience), call); !errors.Is(err, ErrQueueFull) {
			t.Errorf("got %v", err)
		}
	}
	if n := left(t, b); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

func TestFullObjectStore(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t), func(c *Config) { c.Settings.StorageLimit = 4 << 20 }))
	data := randomBytes(1<<20, 1)
	publish(t, b, largeCall("f", data))
	if _, err := b.PublishCall(within(t, patience), largeCall("f", data)); !errors.Is(err, ErrStorageFull) {
		t.Fatalf("got %v", err)
	}
	d := pulled(t, consumer(t, b, "f"), 1)[0]
	checkBody(t, d, data)
	if err := d.Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	publish(t, b, largeCall("f", data)) // there is room again
}

// Keys and large bodies together: the body counts, a repetition stores nothing, and what it has stored meanwhile is removed.
func TestLargeBodyWithAKey(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	data := randomBytes(2*objectChunk, 1)
	large := func(function string, data []byte) Call {
		call := largeCall(function, data)
		call.IdempotencyKey = "k"
		return call
	}
	id := publish(t, b, large("f", data))
	if again := publish(t, b, large("f", data)); again != id {
		t.Errorf("ids %s and %s", id, again)
	}
	other := bytes.Clone(data)
	other[len(other)-1]++
	if _, err := b.PublishCall(within(t, patience), large("f", other)); !errors.Is(err, ErrKeyReused) {
		t.Errorf("another body: %v", err)
	}
	if n := left(t, b); n != 3 {
		t.Errorf("%d messages are in the store", n)
	}
	checkBody(t, pulled(t, consumer(t, b, "f"), 1)[0], data)

	// All at once.
	results := make(chan string, 20)
	for range cap(results) {
		go func() {
			id, err := b.PublishCall(within(t, patience), large("g", data))
			if err != nil {
				t.Error(err)
			}
			results <- id
		}()
	}
	ids := map[string]bool{}
	for range cap(results) {
		ids[<-results] = true
	}
	if d := pulled(t, consumer(t, b, "g"), 1)[0]; len(ids) != 1 || !ids[d.ID] || depth(t, b, "g") != 1 {
		t.Errorf("ids %v, call %s of %d", ids, d.ID, depth(t, b, "g"))
	} else {
		checkBody(t, d, data)
	}
	if _, err := b.SweepBodies(within(t, patience), 0); err != nil {
		t.Fatal(err)
	}
	if n := left(t, b); n != 6 {
		t.Errorf("%d messages are in the store", n)
	}
}

// Storing and reading bear with a server that is away for a moment.
func TestLargeBodySurvivesARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := ensureBodies(t, connect(t, server))
	data := randomBytes(6*objectChunk, 1)
	restart := func() {
		server.Stop()
		server.Start()
	}
	id := publish(t, b, Call{Function: "f", Method: "POST", Reader: &interrupted{bytes.NewReader(data), 3 * objectChunk, restart}, Size: int64(len(data))})
	awaitConnection(t, b)
	var d *Delivery
	eventually(t, "the call is delivered", func() bool {
		deliveries, err := b.Fetch(within(t, patience), "f", 1)
		if err != nil || len(deliveries) == 0 {
			return false
		}
		d = deliveries[0]
		return true
	})
	body, _, err := d.OpenBody(within(t, patience))
	if err != nil || d.ID != id {
		t.Fatal(d.ID, err)
	}
	got, err := io.ReadAll(&interrupted{body, 3 * objectChunk, restart})
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, or others: %v", len(got), err)
	}
}

// interrupted calls do once after so many bytes.
type interrupted struct {
	io.Reader
	after int
	do    func()
}

func (i *interrupted) Read(p []byte) (n int, err error) {
	if i.after <= 0 && i.do != nil {
		i.do()
		i.do = nil
	}
	n, err = i.Reader.Read(p)
	i.after -= n
	return n, err
}

func TestLostBody(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	data := randomBytes(3*objectChunk, 1)
	c := consumer(t, b, "f")
	for name, lose := range map[string]func(name string) error{
		"all of it": func(name string) error { return b.bodies().remove(within(t, patience), name, name) },
		"its parts": func(name string) error {
			_, err := b.bodies().purge(within(t, patience), b.bodies().chunks(name), 0)
			return err
		},
		"other bytes": func(name string) error {
			if _, err := b.bodies().purge(within(t, patience), b.bodies().chunks(name), 0); err != nil {
				return err
			}
			for range 3 {
				if _, err := b.js.Publish(within(t, patience), b.bodies().chunks(name), make([]byte, objectChunk)); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		publish(t, b, largeCall("f", data))
		d := pulled(t, c, 1)[0]
		if err := lose(d.Call.stored.name); err != nil {
			t.Fatal(err)
		}
		if got, err := readBody(t, d); !errors.Is(err, ErrBodyLost) || len(got) >= len(data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if err := d.Done(within(t, patience)); err != nil {
			t.Error(err)
		}
	}
}

// A message may name anything: it neither reads nor removes the body of another function's call.
func TestRow3BodiesOfOthersAreNotGivenAway(t *testing.T) {
	t.Parallel()
	b := ensureBodies(t, connect(t, bustest.Start(t)))
	data := randomBytes(objectChunk, 1)
	publish(t, b, largeCall("f", data))
	victim := pulled(t, consumer(t, b, "f"), 1)[0]
	msg := &nats.Msg{Subject: b.CallSubject("g"), Header: nats.Header{HeaderBody: {victim.Call.stored.name}, HeaderBodySize: {fmt.Sprint(len(data))}}}
	if _, err := b.js.PublishMsg(within(t, patience), msg); err != nil {
		t.Fatal(err)
	}
	thief := pulled(t, consumer(t, b, "g"), 1)[0]
	if _, err := readBody(t, thief); !errors.Is(err, ErrBodyLost) {
		t.Errorf("read: %v", err)
	}
	if _, err := b.Bury(within(t, patience), thief, Death{Reason: "x", At: time.Now()}); err != nil {
		t.Error(err)
	}
	if err := thief.Done(within(t, patience)); err != nil {
		t.Error(err)
	}
	checkBody(t, victim, data)
}

func TestBadBodyHeaders(t *testing.T) {
	for _, header := range []nats.Header{
		{HeaderBody: {"x"}}, {HeaderBodySize: {"1"}}, {HeaderBody: {""}, HeaderBodySize: {"1"}}, {HeaderBody: {"a.b"}, HeaderBodySize: {"1"}},
		{HeaderBody: {"x"}, HeaderBodySize: {"-1"}}, {HeaderBody: {"x"}, HeaderBodySize: {"much"}},
	} {
		if call, err := testNames.decode(&nats.Msg{Subject: "sluice.call.f", Header: header}); !errors.Is(err, ErrBadMessage) || !strings.Contains(err.Error(), "Sluice-Body") {
			t.Errorf("%v: got %+v, %v", header, call, err)
		}
	}
	msg := testNames.encode(Call{Function: "f", Method: "POST", Header: http.Header{HeaderBody: {"x"}, HeaderBodySize: {"1"}}})
	if len(msg.Header) != 0 {
		t.Errorf("from a caller: %v", msg.Header)
	}
}
