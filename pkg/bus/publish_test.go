package bus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func TestPublishedCallHasItsPlaceAsID(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	stream, err := b.js.Stream(within(t, patience), "sluice-calls")
	if err != nil {
		t.Fatal(err)
	}
	for want := uint64(1); want <= 3; want++ {
		id := publish(t, b, Call{Function: "f", Body: fmt.Append(nil, want)})
		created, sequence, err := ParseCallID(id)
		if err != nil || sequence != want || created != stream.CachedInfo().Created.UnixMilli() {
			t.Errorf("call %d has the id %q", want, id)
		}
	}
	for i, d := range pulled(t, consumer(t, b, "f"), 3) {
		if string(d.Call.Body) != fmt.Sprint(i+1) || d.Sequence != uint64(i+1) || d.ID != b.callID(d.Sequence) || time.Since(d.Accepted) > patience {
			t.Errorf("call %d came as %+v", i+1, d)
		}
	}
}

func TestFullQueueRefusesItsOwnCallersOnly(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t), patient, func(c *Config) { c.Settings.QueueLimit = 2 })
	publish(t, b, Call{Function: "full"})
	publish(t, b, Call{Function: "full"})
	start := time.Now()
	_, err := b.PublishCall(within(t, unhurried), Call{Function: "full", Method: "POST"})
	if !errors.Is(err, ErrQueueFull) || errors.Is(err, ErrUnavailable) || time.Since(start) > soon {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
	publish(t, b, Call{Function: "other"})
	if err := pulled(t, consumer(t, b, "full"), 1)[0].Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	publish(t, b, Call{Function: "full"})
}

func TestFullStorage(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t), func(c *Config) { c.Settings.StorageLimit = 64 << 10 })
	for i := 0; ; i++ {
		_, err := b.PublishCall(within(t, patience), Call{Function: fmt.Sprintf("f%d", i), Method: "POST", Body: make([]byte, 10<<10)})
		if errors.Is(err, ErrStorageFull) && i > 1 {
			return
		}
		if err != nil || i > 7 {
			t.Fatalf("call %d: %v", i, err)
		}
	}
}

func TestTooLargeCalls(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t), patient)
	header := http.Header{"X-Large": {strings.Repeat("h", maxCallHeader-1_000)}}
	publish(t, b, Call{Function: "f", Header: header, Body: make([]byte, b.MaxBody())})
	for what, call := range map[string]Call{
		"body beyond the stream's limit": {Body: make([]byte, b.maxCallSize()+1)},
		"body beyond the server's limit": {Body: make([]byte, 2<<20)},
		"header":                         {Header: http.Header{"X-Large": {strings.Repeat("h", maxCallHeader)}}},
		"both together":                  {Header: header, Body: make([]byte, b.maxCallSize()-1_000)},
	} {
		call.Function, call.Method = "f", "POST"
		start := time.Now()
		if _, err := b.PublishCall(within(t, unhurried), call); !errors.Is(err, ErrTooLarge) || time.Since(start) > soon {
			t.Errorf("%s: after %v: %v", what, time.Since(start), err)
		}
	}
}

func TestPublishWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server, func(c *Config) { c.Settings.PublishPatience = 300 * time.Millisecond })
	server.Stop()
	start := time.Now()
	_, err := b.PublishCall(within(t, unhurried), Call{Function: "f", Method: "POST"})
	if took := time.Since(start); !errors.Is(err, ErrUnavailable) || took < 300*time.Millisecond || took > soon {
		t.Fatalf("after %v: %v", took, err)
	}
	if err := b.Connected(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Connected says %v", err)
	}
}

func TestPublishBridgesARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server)
	server.Stop()
	ended := make(chan error, 1)
	go func() {
		_, err := b.PublishCall(context.Background(), Call{Function: "f", Method: "POST"})
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("it ended without a server: %v", err)
	case <-time.After(quiet):
	}
	server.Start()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if depth, err := b.Depth(within(t, patience), "f"); err != nil || depth != 1 {
		t.Fatalf("depth %d, %v", depth, err)
	}
}

func TestPublishEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connect(t, server, patient)
	server.Stop()
	cause := errors.New("the caller has gone")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(quiet, func() { cancel(cause) })
	start := time.Now()
	if _, err := b.PublishCall(ctx, Call{Function: "f", Method: "POST"}); !errors.Is(err, ErrUnavailable) || time.Since(start) > soon {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
}

func TestPublishEndsWithTheBus(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t), patient)
	b.Close()
	start := time.Now()
	if _, err := b.PublishCall(context.Background(), Call{Function: "f", Method: "POST"}); !errors.Is(err, ErrUnavailable) || time.Since(start) > soon {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
}

func TestWhatIsRepeated(t *testing.T) {
	for _, err := range []error{
		jetstream.ErrTooManyStalledMsgs, jetstream.ErrNoStreamResponse, jetstream.ErrAsyncPublishTimeout, jetstream.ErrStreamNameAlreadyInUse,
		jetstream.ErrJetStreamNotEnabled, context.DeadlineExceeded, ErrUnavailable, &jetstream.APIError{Code: 503}, &jetstream.APIError{Code: 408},
	} {
		if permanent(err) {
			t.Errorf("%v is not repeated", err)
		}
	}
	for _, err := range []error{ErrTooLarge, ErrQueueFull, ErrStorageFull, errTooOld, &jetstream.APIError{Code: 400}, jetstream.ErrStreamNotFound} {
		if !permanent(fmt.Errorf("do: %w", err)) {
			t.Errorf("%v is repeated", err)
		}
	}
}

func TestDepthsAndOldest(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	before := time.Now().Add(-time.Second)
	for _, function := range []string{"a", "b", "b"} {
		publish(t, b, Call{Function: function})
	}
	depths, err := b.Depths(within(t, patience))
	if err != nil || len(depths) != 2 || depths["a"] != 1 || depths["b"] != 2 {
		t.Errorf("depths %v, %v", depths, err)
	}
	if depth, err := b.Depth(within(t, patience), "c"); err != nil || depth != 0 {
		t.Errorf("depth of an empty queue: %d, %v", depth, err)
	}
	if accepted, ok, err := b.Oldest(within(t, patience), "b"); err != nil || !ok || accepted.Before(before) || accepted.After(time.Now().Add(time.Second)) {
		t.Errorf("oldest %v %v, %v", accepted, ok, err)
	}
	if _, ok, err := b.Oldest(within(t, patience), "c"); err != nil || ok {
		t.Errorf("oldest of an empty queue: %v, %v", ok, err)
	}
	if pending, err := b.Pending(within(t, patience), "b"); err != nil || pending != 0 {
		t.Errorf("pending without a consumer: %d, %v", pending, err)
	}
	pulled(t, consumer(t, b, "b"), 1)
	if pending, err := b.Pending(within(t, patience), "b"); err != nil || pending != 1 {
		t.Errorf("pending: %d, %v", pending, err)
	}
}
