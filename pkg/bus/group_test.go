package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// published is what became of one call.
type published struct {
	call Call
	id   string
	err  error
}

// numbered returns calls that can be told apart, spread over the functions.
func numbered(count int, functions ...string) (calls []Call) {
	for i := range count {
		header := http.Header{"Number": {fmt.Sprint(i)}}
		calls = append(calls, Call{Function: functions[i%len(functions)], Method: "POST", Header: header, Body: []byte("body")})
	}
	return calls
}

// hold makes all calls wait as if a batch was on its way, until the returned function is called.
func hold(b *Bus) (release func()) {
	b.group.mu.Lock()
	defer b.group.mu.Unlock()
	b.group.busy = true
	return func() { b.group.wake <- struct{}{} }
}

func waiting(b *Bus) int {
	b.group.mu.Lock()
	defer b.group.mu.Unlock()
	return len(b.group.waiting)
}

func busy(b *Bus) bool {
	b.group.mu.Lock()
	defer b.group.mu.Unlock()
	return b.group.busy
}

// publishTogether publishes the calls so that they are in the queue together.
func publishTogether(t *testing.T, b *Bus, calls []Call) []published {
	t.Helper()
	release := hold(b)
	results := make([]published, len(calls))
	var callers sync.WaitGroup
	for i, call := range calls {
		number := call.Header.Get("Number")
		callers.Go(func() {
			id, err := b.PublishCall(context.Background(), call)
			call.Header = http.Header{"Number": {number}}
			results[i] = published{call, id, err}
		})
	}
	eventually(t, "all calls wait", func() bool { return waiting(b) == len(calls) })
	release()
	callers.Wait()
	return results
}

// stored reads the message at the place that the id says.
func stored(t *testing.T, b *Bus, id string) *jetstream.RawStreamMsg {
	t.Helper()
	created, sequence, err := ParseCallID(id)
	if err != nil || created != b.created.Load() {
		t.Fatalf("id %q: %v", id, err)
	}
	stream, err := b.callsStream(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetMsg(within(t, patience), sequence)
	if err != nil {
		t.Fatalf("call %s is not stored: %v", id, err)
	}
	return msg
}

// checkPlaces fails unless each accepted call is where its id says, and no other call is stored.
func checkPlaces(t *testing.T, b *Bus, results []published) (grouped int) {
	t.Helper()
	ids := map[string]bool{}
	for _, p := range results {
		if p.err != nil {
			continue
		}
		msg := stored(t, b, p.id)
		if want := p.call.Header.Get("Number"); msg.Subject != b.CallSubject(p.call.Function) || msg.Header.Get("Number") != want || ids[p.id] {
			t.Errorf("call %s of %s is not at %s but %s of %s", want, p.call.Function, p.id, msg.Header.Get("Number"), msg.Subject)
		}
		if ids[p.id] = true; msg.Header.Get(headerBatchID) != "" {
			grouped++
		}
	}
	depths, err := b.Depths(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, depth := range depths {
		total += int(depth)
	}
	if total != len(ids) {
		t.Errorf("%d calls were accepted, %d are stored", len(ids), total)
	}
	return grouped
}

func accepted(t *testing.T, results []published) {
	t.Helper()
	for _, p := range results {
		if p.err != nil {
			t.Errorf("call %s of %s: %v", p.call.Header.Get("Number"), p.call.Function, p.err)
		}
	}
}

func TestGroupedCallsHaveTheirPlaceAsID(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit)
	publish(t, b, Call{Function: "a"})
	if err := pulled(t, consumer(t, b, "a"), 1)[0].Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	results := publishTogether(t, b, numbered(100, "a", "b", "c"))
	accepted(t, results)
	if grouped := checkPlaces(t, b, results); grouped != 100 {
		t.Errorf("%d calls were stored in a batch", grouped)
	}
	for _, d := range pulled(t, consumer(t, b, "b"), 33) {
		if d.Err != nil || len(d.Call.Header) != 1 {
			t.Errorf("the function would get %+v, %v", d.Call.Header, d.Err)
		}
	}
}

// Callers that come and go by themselves, with nothing held.
func TestManyCallersAreGrouped(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit)
	const callers, each = 64, 10
	results := make([]published, callers*each)
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			for j := range each {
				k := i*each + j
				call := Call{Function: fmt.Sprintf("f%d", i%5), Method: "POST", Header: http.Header{"Number": {fmt.Sprint(k)}}}
				id, err := b.PublishCall(context.Background(), call)
				call.Header = http.Header{"Number": {fmt.Sprint(k)}}
				results[k] = published{call, id, err}
			}
		})
	}
	running.Wait()
	accepted(t, results)
	if grouped := checkPlaces(t, b, results); grouped < callers {
		t.Errorf("only %d of %d calls were stored in a batch", grouped, len(results))
	}
}

func TestLoneCallerIsNotGrouped(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit)
	for range 3 {
		if msg := stored(t, b, publish(t, b, Call{Function: "f"})); msg.Header.Get(headerBatchID) != "" {
			t.Errorf("stored with %v", msg.Header)
		}
	}
	accepted(t, publishTogether(t, b, numbered(groupLeast, "f")))
	if msg := stored(t, b, publish(t, b, Call{Function: "f"})); msg.Header.Get(headerBatchID) != "" {
		t.Errorf("after a batch: stored with %v", msg.Header)
	}
	results := publishTogether(t, b, numbered(groupLeast-1, "g"))
	accepted(t, results)
	if msg := stored(t, b, results[0].id); msg.Header.Get(headerBatchID) != "" {
		t.Errorf("too few for a batch: stored with %v", msg.Header)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t), groupCommit)
	calls := numbered(groupMost+50, "f")
	for i := range calls {
		calls[i].Body = make([]byte, groupCallBytes-1_000)
	}
	sizes, sum := map[string]int{}, map[string]int{}
	results := publishTogether(t, b, append(calls, numbered(2*groupMost, "g")...))
	accepted(t, results)
	for _, p := range results {
		msg := stored(t, b, p.id)
		batch := msg.Header.Get(headerBatchID)
		sizes[batch]++
		sum[batch] += len(msg.Data)
	}
	delete(sizes, "")
	if len(sizes) < 4 {
		t.Errorf("%d batches", len(sizes))
	}
	for batch, size := range sizes {
		if size > groupMost || sum[batch] > groupBytes {
			t.Errorf("a batch of %d calls, %d bytes", size, sum[batch])
		}
	}
}

func TestWaitingCallersAreBounded(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t), groupCommit)
	hold(b)
	b.group.mu.Lock()
	b.group.waiting = make([]*groupCall, maxPendingPublishes)
	b.group.mu.Unlock()
	publish(t, b, Call{Function: "f"}) // alone, since no more may wait
	b.group.mu.Lock()
	b.group.waiting = nil
	b.group.mu.Unlock()
}

func TestGroupedCallEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit)
	release := hold(b)
	leaving, leave := context.WithCancel(context.Background())
	defer leave()
	var callers sync.WaitGroup
	for i := range 40 {
		callers.Go(func() {
			ctx := context.Background()
			if i%2 == 1 {
				ctx = leaving
			}
			_, err := b.PublishCall(ctx, numbered(1, "f")[0])
			if (i%2 == 1) != errors.Is(err, ErrUnavailable) {
				t.Errorf("caller %d got %v", i, err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return waiting(b) == 40 })
	leave()
	eventually(t, "half of them leave", func() bool { return waiting(b) == 20 })
	release()
	callers.Wait()
	if depth, err := b.Depth(within(t, patience), "f"); err != nil || depth != 20 {
		t.Errorf("%d calls are stored, %v", depth, err)
	}
}

// A caller that leaves while the batch is being sent may use its memory again.
func TestCallersThatLeaveTakeNothingFromABatch(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit)
	for range 8 {
		release := hold(b)
		ctx, cancel := context.WithCancel(context.Background())
		var callers sync.WaitGroup
		for range 64 {
			callers.Go(func() {
				body := bytes.Repeat([]byte("a"), 32<<10)
				_, _ = b.PublishCall(ctx, Call{Function: "f", Method: "POST", Body: body}) // either way
				copy(body, bytes.Repeat([]byte("b"), len(body)))
			})
		}
		eventually(t, "all wait", func() bool { return waiting(b) == 64 })
		release()
		eventually(t, "the batch is on its way", func() bool { return waiting(b) == 0 })
		cancel()
		callers.Wait()
		eventually(t, "the batch has ended", func() bool { return !busy(b) })
	}
	depth, err := b.Depth(within(t, patience), "f")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range pulled(t, consumer(t, b, "f"), int(depth)) {
		if bytes.Contains(d.Call.Body, []byte("b")) {
			t.Fatalf("call %s was changed by its caller afterwards", d.ID)
		}
	}
}

func TestGroupEndsWithTheBus(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t, syncAlways), groupCommit, patient)
	release := hold(b)
	var callers sync.WaitGroup
	for range 40 {
		callers.Go(func() {
			start := time.Now()
			if _, err := b.PublishCall(context.Background(), numbered(1, "f")[0]); !errors.Is(err, ErrUnavailable) || time.Since(start) > soon {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return waiting(b) == 40 })
	b.Close()
	callers.Wait()
	release() // nobody listens any more
	b.Close()
}
