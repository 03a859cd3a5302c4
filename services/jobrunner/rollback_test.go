package jobrunner

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// replaceDir makes a directory a copy of another one.
func replaceDir(t *testing.T, dir, from string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// onShelf waits until nothing is to be done for a run any more, and nothing is in doubt.
func (r *running) onShelf(id string) {
	r.f.t.Helper()
	k := key{"fib", id}
	eventually(r.f.t, "the record of "+id+" rests", func() (rests bool) {
		r.inside(func(time.Time) {
			_, rests = r.shelf.get(k)
			_, doubtful := r.doubtful[k]
			rests = rests && !doubtful && r.tracked[k] == nil
		})
		return rests
	})
}

// TestRolledBackRecords: an older state of NATS's store is put back while it is away. The same leader closes once more what was closed, goes on with what has no end yet, and knows
// again of what was removed.
func TestRolledBackRecords(t *testing.T) {
	t.Parallel()
	dir, kept := t.TempDir(), t.TempDir()
	s := bustest.Start(t, func(o *server.Options) { o.StoreDir = dir })
	f := newFixtureOn(t, s, definition("fib", 4))
	r := f.startSynced()
	for _, id := range []string{"closed", "runs", "gone"} {
		f.publish("fib", id, "")
		f.phase("fib", id, job.Running)
	}
	f.drained()
	s.Stop()
	replaceDir(t, kept, dir)
	s.Start()
	f.api.end("closed", job.Succeeded)
	f.closed("fib", "closed", job.Succeeded)
	f.api.end("gone", job.Succeeded)
	f.closed("fib", "gone", job.Succeeded)
	r.onShelf("closed")
	r.onShelf("gone")
	_, revision, err := f.runs.Get(t.Context(), "fib", "gone")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.runs.Remove(t.Context(), "fib", "gone", revision); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is forgotten", func() (forgotten bool) {
		r.inside(func(time.Time) { _, shelved := r.shelf.get(key{"fib", "gone"}); forgotten = !shelved })
		return forgotten
	})
	s.Stop()
	replaceDir(t, dir, kept)
	s.Start()
	f.closed("fib", "closed", job.Succeeded)
	f.closed("fib", "gone", job.Succeeded)
	f.api.end("runs", job.Succeeded)
	f.closed("fib", "runs", job.Succeeded)
	if n := f.api.onceAll(); n != 3 {
		t.Errorf("%d runs had pods", n)
	}
}

// TestRecordThatIsSaidToBeGone: it is read. One that is there comes back onto the shelf, and waits as before; one that is not is forgotten.
func TestRecordThatIsSaidToBeGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 1))
	r := f.startSynced()
	f.publish("fib", "runs", "")
	f.phase("fib", "runs", job.Running)
	f.publishRaw("fib", "waits", "", "")
	f.await("fib", "waits", "recorded", func(r job.Run) bool { return r.Reason == job.ReasonConcurrencyLimit })
	f.put(over("fib", 0, nil))
	r.onShelf("r1")
	for _, id := range []string{"runs", "waits", "r1"} {
		r.inside(func(time.Time) { r.removeRun(key{"fib", id}) })
	}
	r.onShelf("r1")
	r.onShelf("waits")
	f.api.end("runs", job.Succeeded)
	f.phase("fib", "waits", job.Running)
	_, revision, err := f.runs.Get(t.Context(), "fib", "r1")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.runs.Remove(t.Context(), "fib", "r1", revision); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is forgotten", func() (forgotten bool) {
		r.inside(func(time.Time) {
			_, shelved := r.shelf.get(key{"fib", "r1"})
			forgotten = !shelved && r.tracked[key{"fib", "r1"}] == nil && len(r.doubtful) == 0
		})
		return forgotten
	})
}

// TestOlderRecordIsReadBeforeAnythingIsDecided: it may as well be from a server that is behind.
func TestOlderRecordIsReadBeforeAnythingIsDecided(t *testing.T) {
	t.Parallel()
	r := graceRunner(t, 0)
	closed := over("fib", 1, nil)
	r.shelf.put(closed)
	r.removeRun(key{"fib", "r1"})
	r.applyRun(creating(definition("fib", 1), "r1"), 5)
	if tracked := r.tracked[key{"fib", "r1"}]; tracked == nil || tracked.doubts == 0 {
		t.Errorf("it is tracked as %+v", tracked)
	}
}

// TestWhatTheWatchHasNotToldIsReadAfterAReconnect: NATS may have lost it while it was away, and then the watch has nothing to tell.
func TestWhatTheWatchHasNotToldIsReadAfterAReconnect(t *testing.T) {
	t.Parallel()
	r := graceRunner(t, 0)
	for _, id := range []string{"told", "untold"} {
		run := over("fib", 1, nil)
		run.ID = id
		r.shelf.put(run)
	}
	r.shelvedAt[key{"fib", "told"}], r.shelvedAt[key{"fib", "untold"}] = 5, 6
	r.onRead(5)
	r.onReconnect(time.Now())
	r.lookAtDoubtful()
	if t1, t2 := r.tracked[key{"fib", "told"}], r.tracked[key{"fib", "untold"}]; t1 != nil || t2 == nil || t2.doubts == 0 {
		t.Errorf("tracked are %+v and %+v", t1, t2)
	}
}

// TestEmptiedBucketIsReadInParts: of a hundred thousand records that somebody has removed at once, a few are in memory and read at a time.
func TestEmptiedBucketIsReadInParts(t *testing.T) {
	t.Parallel()
	const all = 100_000
	r := graceRunner(t, 0)
	for i := range all {
		r.shelf.put(job.Run{Definition: "fib", ID: fmt.Sprint("r", i), Phase: job.Succeeded, Closed: true})
	}
	for i := range all {
		r.removeRun(key{"fib", fmt.Sprint("r", i)})
	}
	read, rounds := 0, 0
	for ; len(r.doubtful) > 0 && rounds < all; rounds++ {
		r.lookAtDoubtful()
		r.lookAtDoubtful() // nothing has been read since
		if n := len(r.tracked); n == 0 || n > maxDoubted {
			t.Fatalf("%d are read at a time", n)
		}
		for _, tracked := range r.tracked {
			r.lose(tracked) // as readRecord does
			tracked.doubts = 0
			r.rest(tracked, time.Now())
			read++
		}
	}
	if read != all || len(r.tracked) != 0 || len(r.shelf) != 0 {
		t.Errorf("%d are read in %d rounds; %d are tracked, %d definitions have a board", read, rounds, len(r.tracked), len(r.shelf))
	}
}
