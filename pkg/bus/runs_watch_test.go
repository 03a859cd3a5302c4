package bus

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// runsSeen is what a reader was told.
type runsSeen struct {
	mu       sync.Mutex
	phases   map[string]job.Phase
	revision map[string]uint64
	applied  uint64
	applies  int
	told     int
}

func (s *runsSeen) ApplyRun(record job.Run, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := record.Definition + "." + record.ID
	s.phases[key], s.revision[key] = record.Phase, revision
	s.told++
}

func (s *runsSeen) RemoveRun(definition, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.phases, definition+"."+id)
}

func (s *runsSeen) AppliedRuns(revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = revision
	s.applies++
}

// has returns a condition: everything up to the revision was told, and it is that.
func (s *runsSeen) has(revision uint64, want map[string]job.Phase) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.applied >= revision && maps.Equal(s.phases, want)
	}
}

// watchRuns watches until the test ends.
func watchRuns(t testing.TB, r *Runs) *runsSeen {
	t.Helper()
	seen := &runsSeen{phases: map[string]job.Phase{}, revision: map[string]uint64{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Watch(ctx, seen) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return seen
}

func TestWatchOfRuns(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	r := openRuns(t, connectOnly(t, server.URL()))
	first := putRun(t, r, run("j", "1", job.Queued), 0)
	gone := putRun(t, r, run("j", "2", job.Queued), 0)
	if _, err := r.kv.PutString(within(t, patience), "j.bad", "no JSON"); err != nil {
		t.Fatal(err)
	}
	seen := watchRuns(t, openRuns(t, connectOnly(t, server.URL())))
	eventually(t, "what is there is told", seen.has(gone, map[string]job.Phase{"j.1": job.Queued, "j.2": job.Queued}))
	last := putRun(t, r, run("j", "1", job.Running), first)
	if err := r.Remove(within(t, patience), "j", "2", gone); err != nil {
		t.Fatal(err)
	}
	eventually(t, "changes are told", seen.has(last+1, map[string]job.Phase{"j.1": job.Running}))
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if seen.revision["j.1"] != last || seen.told != 3 {
		t.Errorf("told %d times, at revision %d, want %d", seen.told, seen.revision["j.1"], last)
	}
}

func TestWatchOfRunsAfterARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	r := openRuns(t, b)
	seen := watchRuns(t, openRuns(t, connectOnly(t, server.URL())))
	first := putRun(t, r, run("j", "1", job.Queued), 0)
	gone := putRun(t, r, run("j", "2", job.Queued), 0)
	eventually(t, "both are told", seen.has(gone, map[string]job.Phase{"j.1": job.Queued, "j.2": job.Queued}))
	server.Stop()
	server.Start()
	awaitConnection(t, b)
	if err := r.Remove(within(t, patience), "j", "2", gone); err != nil {
		t.Fatal(err)
	}
	last := putRun(t, r, run("j", "1", job.Running), first)
	eventually(t, "changes after the restart are told", seen.has(last, map[string]job.Phase{"j.1": job.Running}))
}

// The server can lose the consumer behind a watch without a word: whoever writes says how new the bucket is, once, and that is enough.
func TestStaleWatchOfRunsNoticesByOneAnnouncement(t *testing.T) {
	t.Parallel()
	b := connectOnly(t, bustest.Start(t).URL())
	r := openRuns(t, b)
	first := putRun(t, r, run("j", "1", job.Queued), 0)
	gone := putRun(t, r, run("j", "2", job.Queued), 0)
	notices := make(chan string, 100)
	seen := watchRuns(t, openRuns(t, connectOnly(t, b.config.URL, tellErrors(notices))))
	eventually(t, "both are told", seen.has(gone, map[string]job.Phase{"j.1": job.Queued, "j.2": job.Queued}))
	cutWatches(t, b, b.RunsBucket())
	if err := r.Remove(within(t, patience), "j", "2", gone); err != nil {
		t.Fatal(err)
	}
	last := putRun(t, r, run("j", "1", job.Running), first)
	if got := next(t, notices); !strings.Contains(got, fmt.Sprintf("the bucket is at %d", last)) { // the client library notices by itself, later and in silence
		t.Errorf("got %q", got)
	}
	eventually(t, "the reader is current", seen.has(last, map[string]job.Phase{"j.1": job.Running}))
}

// tellErrors is the option that sends what goes wrong to the channel.
func tellErrors(notices chan<- string) func(*Config) {
	return func(c *Config) {
		c.Notify = func(event string, err error) {
			if err != nil {
				notices <- event + ": " + err.Error()
			}
		}
	}
}

// A wrong announcement makes a reader read anew once, and not for ever.
func TestWrongAnnouncementIsBelievedOnce(t *testing.T) {
	t.Parallel()
	b := connectOnly(t, bustest.Start(t).URL())
	notices := make(chan string, 100)
	reader := openRuns(t, connectOnly(t, b.config.URL, tellErrors(notices)))
	r := openRuns(t, b)
	seen := watchRuns(t, reader)
	first := putRun(t, r, run("j", "1", job.Queued), 0)
	eventually(t, "it is told", seen.has(first, map[string]job.Phase{"j.1": job.Queued}))
	seen.mu.Lock()
	before := seen.applies
	seen.mu.Unlock()
	if err := b.sendJSON(b.RunRevisionSubject("j", "1"), first+1_000); err != nil {
		t.Fatal(err)
	}
	if got := next(t, notices); !strings.Contains(got, "watch of the runs ended") {
		t.Errorf("got %q", got)
	}
	<-time.After(2*staleAfter + 2*staleLook)
	seen.mu.Lock()
	applies := seen.applies
	seen.mu.Unlock()
	if applies > before+1 {
		t.Errorf("it is read anew %d times", applies-before)
	}
	last := putRun(t, r, run("j", "1", job.Running), first)
	eventually(t, "changes are told", seen.has(last, map[string]job.Phase{"j.1": job.Running}))
}

// What is removed is forgotten: new runs come for ever.
func TestWatchForgetsRunsThatAreGone(t *testing.T) {
	t.Parallel()
	r := openRuns(t, connectOnly(t, bustest.Start(t).URL()))
	told := make(chan string, 1_000)
	w := &follower{bus: r.bus, known: map[string]knownKey{}, watched: watched{
		kv: r.kv, apply: func(key string, _ []byte, _ uint64) error { told <- key; return nil }, remove: func(key string) { told <- "-" + key }, applied: func(uint64) {},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx) }()
	for i := range 20 {
		id := fmt.Sprint(i)
		if err := r.Remove(within(t, patience), "j", id, putRun(t, r, run("j", id, job.Succeeded), 0)); err != nil {
			t.Fatal(err)
		}
	}
	for next(t, told) != "-j.19" {
	}
	cancel()
	if err := <-ended; err != nil || len(w.known) > 0 {
		t.Errorf("%d are known, %v", len(w.known), err)
	}
}

func TestAwaitRun(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	r, other := openRuns(t, connectOnly(t, server.URL())), openRuns(t, connectOnly(t, server.URL()))
	final := func(record job.Run) bool { return record.Phase.Final() }
	first := putRun(t, r, run("j", "1", job.Queued), 0)
	type result struct {
		record job.Run
		found  bool
		err    error
	}
	results := make(chan result, 10)
	for _, id := range []string{"1", "1", "later"} {
		go func() {
			record, found, err := other.Await(within(t, patience), "j", id, final)
			results <- result{record, found, err}
		}()
	}
	second := putRun(t, r, run("j", "1", job.Running), first)
	putRun(t, r, run("j", "1", job.Succeeded), second)
	putRun(t, r, run("j", "later", job.Failed), 0)
	for range 3 {
		if got := next(t, results); got.err != nil || !got.found || !got.record.Phase.Final() {
			t.Errorf("got %+v", got)
		}
	}
	const wait = 3 * time.Second // enough for the first look
	if record, found, err := r.Await(within(t, wait), "j", "1", func(job.Run) bool { return false }); err != nil || !found || record.Phase != job.Succeeded {
		t.Errorf("at the end of the wait: %+v, %v, %v", record, found, err)
	}
	if _, found, err := r.Await(within(t, wait), "j", "none", final); err != nil || found {
		t.Errorf("one that is not there: %v, %v", found, err)
	}
}

// Who waits hears of a change although the one who told of it was killed before, or the server was away.
func TestAwaitRunHearsOfWhatNobodyTells(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	r := openRuns(t, connectOnly(t, server.URL()))
	first := putRun(t, r, run("j", "1", job.Queued), 0)
	ended := make(chan error, 1)
	looked := make(chan struct{}, 100)
	go func() {
		_, _, err := r.Await(within(t, patience), "j", "1", func(record job.Run) bool {
			looked <- struct{}{}
			return record.Phase.Final()
		})
		ended <- err
	}()
	next(t, looked)
	server.Stop()
	server.Start()
	awaitConnection(t, r.bus)
	if _, err := r.put(within(t, patience), run("j", "1", job.Succeeded), first); err != nil { // Put would tell
		t.Fatal(err)
	}
	if err := next(t, ended); err != nil {
		t.Error(err)
	}
}
