package bus

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// pair returns two Buses on one server.
func pair(t *testing.T) (from, to *Bus) {
	t.Helper()
	server := bustest.Start(t)
	return connectOnly(t, server.URL()), connectOnly(t, server.URL())
}

// next returns the next value, which must come.
func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case value := <-ch:
		return value
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// onActivity listens for reports.
func onActivity(t *testing.T, b *Bus) <-chan Activity {
	t.Helper()
	reports := make(chan Activity, 1_000)
	stop, err := b.OnActivity(func(a Activity) { reports <- a })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return reports
}

func TestWake(t *testing.T) {
	t.Parallel()
	from, to := pair(t)
	woken := make(chan string, 10)
	stop, err := to.OnWake(func(function string) { woken <- function })
	if err != nil {
		t.Fatal(err)
	}
	awaitConnection(t, to)
	if err := to.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, function := range []string{"a", "b-1"} {
		if err := from.Wake(function); err != nil {
			t.Fatal(err)
		}
		if got := next(t, woken); got != function {
			t.Errorf("got %s", got)
		}
	}
	stop()
	if err := from.Wake("c"); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-woken:
		t.Errorf("%s after the stop", got)
	case <-time.After(quiet):
	}
}

func TestSignalsFailWithoutAServer(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	awaitConnection(t, b)
	server.Stop()
	eventually(t, "the loss is noticed", func() bool { return b.Connected() != nil })
	if b.Wake("f") == nil || b.AnnounceRevision(1) == nil || b.ReportActivity(Activity{}) == nil {
		t.Error("a signal that cannot be sent is no error")
	}
}

func TestActivity(t *testing.T) {
	t.Parallel()
	from, to := pair(t)
	reports := onActivity(t, to)
	awaitConnection(t, from)
	for _, want := range []Activity{
		{Sender: "g1", Kind: KindGateway, Revision: 7, Functions: map[string]FunctionActivity{"f": {InFlight: 2, Endpoints: map[string]int{"10.0.0.1:80": 2}}}},
		{Sender: "g1", Kind: KindGateway, Partial: true, Functions: map[string]FunctionActivity{"f": {InFlight: 1}}},
		{Sender: "d1", Kind: KindDispatcher},
		{Sender: "d1", Kind: KindDispatcher, Leaving: true},
	} {
		if err := from.ReportActivity(want); err != nil {
			t.Fatal(err)
		}
		if got := next(t, reports); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if err := from.conn.Publish(from.ActivitySubject(), []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	if err := from.ReportActivity(Activity{Sender: "last"}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, reports); got.Sender != "last" {
		t.Errorf("a broken report came as %+v", got)
	}
}

// However much there is to report, no message is too large, and the last one completes the report.
func TestLargeActivityComesInParts(t *testing.T) {
	t.Parallel()
	from, to := pair(t)
	reports := onActivity(t, to)
	awaitConnection(t, from)
	endpoints := map[string]int{}
	for i := range 4_000 {
		endpoints[fmt.Sprintf("[2001:db8::%x]:8080", i)] = 1
	}
	for what, activity := range map[string]Activity{
		"5,000 functions":        large(5_000, nil),
		"4,000 endpoints of one": large(1, endpoints),
		"many of both":           large(12, endpoints),
	} {
		activity.Leaving = true
		if err := from.ReportActivity(activity); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		whole := map[string]FunctionActivity{}
		parts := 0
		for complete := false; !complete; parts++ {
			part := next(t, reports)
			complete = !part.Partial
			if part.Sender != activity.Sender || part.Revision != activity.Revision || part.Leaving != complete {
				t.Errorf("%s: got a part %+v", what, part)
			}
			for function, entry := range part.Functions {
				whole[function] = entry
			}
		}
		if !reflect.DeepEqual(whole, activity.Functions) {
			t.Errorf("%s: %d of %d functions in %d parts", what, len(whole), len(activity.Functions), parts)
		}
	}
}

func large(functions int, endpoints map[string]int) Activity {
	a := Activity{Sender: "g1", Kind: KindGateway, Revision: 3, Functions: map[string]FunctionActivity{}}
	for i := range functions {
		a.Functions[fmt.Sprintf("function-with-quite-a-long-name-%d", i)] = FunctionActivity{InFlight: i, Endpoints: endpoints}
	}
	return a
}

func TestIdleCallsTellOfEachFunction(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	from, to := connect(t, server), connectOnly(t, server.URL())
	idle := to.NewIdleCalls()
	stops := map[string]func(){}
	for _, function := range []string{"a", "b"} {
		stop, err := idle.Listen(function)
		if err != nil {
			t.Fatal(err)
		}
		stops[function] = stop
	}
	awaitConnection(t, to)
	if err := to.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	publish(t, from, Call{Function: "c"})
	for _, function := range []string{"b", "a"} {
		publish(t, from, Call{Function: function})
		if got := idle.Function(next(t, idle.Messages())); got != function {
			t.Errorf("got %s, want %s", got, function)
		}
	}
	stops["a"]()
	if err := to.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	publish(t, from, Call{Function: "a"})
	publish(t, from, Call{Function: "b"})
	if got := idle.Function(next(t, idle.Messages())); got != "b" {
		t.Errorf("got %s after its stop", got)
	}
	if n := depth(t, from, "a"); n != 2 {
		t.Errorf("listening changed the queue: %d", n)
	}
}

// Who listens goes on after a restart of the server.
func TestSignalsAfterARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	from, to := connectOnly(t, server.URL()), connectOnly(t, server.URL())
	reports := onActivity(t, to)
	server.Stop()
	eventually(t, "the loss is noticed", func() bool { return from.Connected() != nil && to.Connected() != nil })
	server.Start()
	awaitConnection(t, from)
	awaitConnection(t, to)
	eventually(t, "a report arrives", func() bool {
		return from.ReportActivity(Activity{Sender: "g"}) == nil && len(reports) > 0
	})
}
