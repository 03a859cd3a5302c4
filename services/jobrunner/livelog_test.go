package jobrunner

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// openLog opens an output once outputs are served.
func (f *fixture) openLog(ctx context.Context, request bus.LogRequest) (r *bus.LogReader, err error) {
	f.t.Helper()
	eventually(f.t, "output is served", func() bool {
		r, err = f.bus.OpenLog(ctx, request)
		return !errors.Is(err, bus.ErrNoJobrunner)
	})
	return r, err
}

// TestLiveOutputOfAStart: who follows a container that is restarted in its pod is told of which start the output is, and asks for the next one.
func TestLiveOutputOfAStart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.writes("r1", "printed\n")
	read := func(start int) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		r, err := f.openLog(ctx, bus.LogRequest{Definition: "fib", RunID: "r1", Start: start})
		if err != nil {
			return 0, err
		}
		defer r.Close()
		if text, err := io.ReadAll(r); err != nil || string(text) != "printed\n" {
			t.Errorf("%q, %v", text, err)
		}
		return r.Start, nil
	}
	for _, start := range []int{0, 1} {
		if got, err := read(start); got != 1 || err != nil {
			t.Errorf("start %d is %d, %v", start, got, err)
		}
	}
	if _, err := read(2); !errors.Is(err, bus.ErrNoLog) {
		t.Errorf("a start that has not been: %v", err)
	}
	f.api.change("r1", func(o *object) { o.Pods[0].Containers[0].Restarts = 2 })
	eventually(t, "the restarts are known", func() bool { got, err := read(2); return got == 3 && err == nil })
}

// TestLiveOutputOfTheMainContainer: the main container is found by its name, wherever it is in what the node reports.
func TestLiveOutputOfTheMainContainer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.writes("r1", "printed\n")
	f.api.change("r1", func(o *object) {
		o.Pods[0].Containers = []job.Container{{Name: "agent"}, o.Pods[0].Containers[0]}
	})
	eventually(t, "the other container is known", func() (known bool) {
		f.newest.inside(func(time.Time) {
			known = len(f.newest.tracked[key{"fib", "r1"}].object.Pods[0].Containers) == 2
		})
		return known
	})
	r, err := f.openLog(t.Context(), bus.LogRequest{Definition: "fib", RunID: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "printed\n" {
		t.Errorf("%q, %v", text, err)
	}
	if run, _, err := f.runs.Get(t.Context(), "fib", "r1"); err != nil || run.Container != "main" {
		t.Errorf("the record has %q, %v", run.Container, err)
	}
}

// TestNoOutputBeforeTheRunsAreKnown: that there is none would be taken for the truth by who follows it.
func TestNoOutputBeforeTheRunsAreKnown(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	first := f.startSynced()
	f.publish("fib", "r1", "")
	f.phase("fib", "r1", job.Running)
	f.writes("r1", "printed\n")
	first.stop()
	release := make(chan struct{})
	f.start(func(d *Deps) { d.Cluster = lateCluster{d.Cluster, release} })
	ask := func() error {
		r, err := f.bus.OpenLog(t.Context(), bus.LogRequest{Definition: "fib", RunID: "r1"})
		if err == nil {
			err = r.Close()
		}
		return err
	}
	eventually(t, "it has read the records", func() (read bool) {
		f.newest.inside(func(time.Time) { read = f.newest.read })
		return read
	})
	for range 3 { // the first may come before anything could be served
		if err := ask(); !errors.Is(err, bus.ErrNoJobrunner) {
			t.Errorf("before: %v", err)
		}
	}
	close(release)
	eventually(t, "the output is there", func() bool { return ask() == nil })
}
