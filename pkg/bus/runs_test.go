package bus

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

func openRuns(t testing.TB, b *Bus) *Runs {
	t.Helper()
	runs, err := b.OpenRuns(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// run is a record with a few of its fields.
func run(definition, id string, phase job.Phase) job.Run {
	return job.Run{ID: id, Definition: definition, Phase: phase, Attempt: 1, QueuedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func putRun(t testing.TB, r *Runs, record job.Run, revision uint64) uint64 {
	t.Helper()
	next, err := r.Put(within(t, patience), record, revision)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// putRuns makes queued records from 0 to count, several at a time, and returns their revisions.
func putRuns(t testing.TB, r *Runs, count int) (revisions []uint64) {
	t.Helper()
	revisions = make([]uint64, count)
	const writers = 16
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < count; i += writers {
				var err error
				if revisions[i], err = r.Put(within(t, unhurried), run("j", fmt.Sprint(i), job.Queued), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	return revisions
}

func getRun(t testing.TB, r *Runs, definition, id string) (job.Run, uint64) {
	t.Helper()
	record, revision, err := r.Get(within(t, patience), definition, id)
	if err != nil {
		t.Fatal(err)
	}
	return record, revision
}

// listed are the phases of all records, by key.
func listed(t testing.TB, r *Runs, definition string) map[string]job.Phase {
	t.Helper()
	found := map[string]job.Phase{}
	err := r.List(within(t, patience), definition, func(record job.Run) bool {
		found[record.Definition+"."+record.ID] = record.Phase
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRunIsWrittenByCompareAndSet(t *testing.T) {
	t.Parallel()
	r := openRuns(t, connectOnly(t, bustest.Start(t).URL()))
	if _, revision := getRun(t, r, "j", "1"); revision != 0 {
		t.Errorf("a record that is not there has revision %d", revision)
	}
	first := putRun(t, r, run("j", "1", job.Queued), 0)
	for what, revision := range map[string]uint64{"made again": 0, "another revision": first + 1} {
		if _, err := r.Put(within(t, patience), run("j", "1", job.Failed), revision); !errors.Is(err, ErrOvertaken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	other := putRun(t, r, run("j", "2", job.Queued), 0)
	second := putRun(t, r, run("j", "1", job.Running), first)
	if _, err := r.Put(within(t, patience), run("j", "1", job.Failed), first); !errors.Is(err, ErrOvertaken) {
		t.Errorf("a stale revision: %v", err)
	}
	got, revision := getRun(t, r, "j", "1")
	if revision != second || got.Phase != job.Running || !got.QueuedAt.Equal(run("j", "1", "").QueuedAt) {
		t.Errorf("got %+v at %d, want revision %d", got, revision, second)
	}
	if second <= other || other <= first {
		t.Errorf("the revisions are %d, %d, %d", first, other, second)
	}
}

// One of many that write a record at the same time does.
func TestOneOfManyWritesARun(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	revision := putRun(t, openRuns(t, connectOnly(t, server.URL())), run("j", "1", job.Queued), 0)
	for _, from := range []uint64{revision, 0} {
		var won, lost int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 8 {
			r := openRuns(t, connectOnly(t, server.URL()))
			record := run("j", fmt.Sprint("n", from), job.Phase(fmt.Sprint("p", i)))
			if from > 0 {
				record.ID = "1"
			}
			all.Go(func() {
				_, err := r.Put(within(t, patience), record, from)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case errors.Is(err, ErrOvertaken):
					lost++
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won != 1 || lost != 7 {
			t.Errorf("from %d: %d won, %d lost", from, won, lost)
		}
	}
}

// A removed record is not there, and can be made anew over the mark that stays of it for a while; who had an old one cannot write it.
func TestRemovedRun(t *testing.T) {
	t.Parallel()
	checkRemovedRun(t, openRuns(t, connectOnly(t, bustest.Start(t).URL())))
}

func TestRemovedRunOnACluster(t *testing.T) {
	t.Parallel()
	checkRemovedRun(t, openRuns(t, connectOnly(t, bustest.StartCluster(t, 3).URL(), func(c *Config) { c.Replicas = 3 })))
}

func checkRemovedRun(t *testing.T, r *Runs) {
	t.Helper()
	first := putRun(t, r, run("j", "1", job.Queued), 0)
	second := putRun(t, r, run("j", "1", job.Succeeded), first)
	if err := r.Remove(within(t, patience), "j", "1", first); !errors.Is(err, ErrOvertaken) {
		t.Errorf("removed at a stale revision: %v", err)
	}
	for range 2 {
		if err := r.Remove(within(t, patience), "j", "1", second); err != nil {
			t.Fatal(err)
		}
	}
	if got, revision := getRun(t, r, "j", "1"); revision != 0 {
		t.Errorf("it is still there: %+v", got)
	}
	eventually(t, "it is not listed", func() bool { return len(listed(t, r, "")) == 0 })
	for _, revision := range []uint64{first, second} {
		if _, err := r.Put(within(t, patience), run("j", "1", job.Running), revision); !errors.Is(err, ErrOvertaken) {
			t.Errorf("written at revision %d: %v", revision, err)
		}
	}
	anew := putRun(t, r, run("j", "1", job.Queued), 0)
	if _, err := r.Put(within(t, patience), run("j", "1", job.Queued), 0); !errors.Is(err, ErrOvertaken) {
		t.Errorf("made twice over a mark: %v", err)
	}
	if err := r.Remove(within(t, patience), "j", "1", second); !errors.Is(err, ErrOvertaken) {
		t.Errorf("the new one is removed by who knows the old one: %v", err)
	}
	if got, revision := getRun(t, r, "j", "1"); revision != anew || got.Phase != job.Queued {
		t.Errorf("got %+v at %d", got, revision)
	}
	if err := r.Remove(within(t, patience), "j", "never", 1); err != nil {
		t.Errorf("one that was never there: %v", err)
	}
	if err := r.kv.Delete(within(t, patience), "j.1"); err != nil { // as with: nats kv del
		t.Fatal(err)
	}
	putRun(t, r, run("j", "1", job.Queued), 0)
}

// The marks of removed records do not pile up.
func TestMarksOfRemovedRunsGo(t *testing.T) {
	t.Parallel()
	b := connectOnly(t, bustest.Start(t).URL())
	r := openRuns(t, b)
	if err := r.Remove(within(t, patience), "j", "1", putRun(t, r, run("j", "1", job.Succeeded), 0)); err != nil {
		t.Fatal(err)
	}
	msg, err := b.readLeader(within(t, patience), "KV_sluice-runs", lookup{Last: "$KV.sluice-runs.j.1"})
	if err != nil || !msg.removed() || msg.Header.Get(jetstream.MsgTTLHeader) != "60s" {
		t.Errorf("the mark is %+v, %v", msg, err)
	}
	stream, err := b.js.Stream(within(t, patience), "KV_sluice-runs")
	if err != nil || !stream.CachedInfo().Config.AllowMsgTTL || stream.CachedInfo().State.Msgs != 1 {
		t.Errorf("the bucket is %+v, %v", stream.CachedInfo(), err)
	}
}

func TestListRuns(t *testing.T) {
	t.Parallel()
	r := openRuns(t, connectOnly(t, bustest.Start(t).URL()))
	want := map[string]job.Phase{}
	const count = scanBatch + 10
	for i, revision := range putRuns(t, r, count) {
		want[fmt.Sprint("j.", i)] = job.Queued
		if i%10 == 0 {
			putRun(t, r, run("j", fmt.Sprint(i), job.Running), revision)
			putRun(t, r, run("j1", fmt.Sprint(i), job.Queued), 0)
			want[fmt.Sprint("j.", i)], want[fmt.Sprint("j1.", i)] = job.Running, job.Queued
		}
	}
	if got := listed(t, r, ""); !maps.Equal(got, want) {
		t.Errorf("%d are listed of %d", len(got), len(want))
	}
	maps.DeleteFunc(want, func(key string, _ job.Phase) bool { return !strings.HasPrefix(key, "j1.") })
	if got := listed(t, r, "j1"); !maps.Equal(got, want) {
		t.Errorf("%d are listed of %d of j1", len(got), len(want))
	}
	for _, none := range []string{"j2", "j1.1", "*", "j 1"} {
		if got := listed(t, r, none); len(got) > 0 {
			t.Errorf("%q has %v", none, got)
		}
	}
	told := 0
	err := r.List(within(t, patience), "", func(job.Run) bool { told++; return told < 3 })
	if err != nil || told != 3 {
		t.Errorf("%d were told, %v", told, err)
	}
}

// Records that change while they are listed are not left out.
func TestListOfRunsThatChange(t *testing.T) {
	t.Parallel()
	r := openRuns(t, connectOnly(t, bustest.Start(t).URL()))
	const count = 2 * scanBatch
	revisions := putRuns(t, r, count)
	seen := map[string]job.Phase{}
	err := r.List(within(t, patience), "j", func(record job.Run) bool {
		if len(seen) == 10 {
			for i := count - 5; i < count; i++ {
				putRun(t, r, run("j", fmt.Sprint(i), job.Running), revisions[i])
			}
		}
		seen[record.ID] = record.Phase
		return true
	})
	if err != nil || len(seen) != count {
		t.Fatalf("%d are listed of %d, %v", len(seen), count, err)
	}
	for i := count - 5; i < count; i++ {
		if phase := seen[fmt.Sprint(i)]; phase != job.Running {
			t.Errorf("%d is %s", i, phase)
		}
	}
}

// A record that is too large for a message is refused with what it has and what it may have, at once; one below is stored.
func TestLargeRuns(t *testing.T) {
	t.Parallel()
	b := connectOnly(t, bustest.Start(t).URL(), patient)
	r := openRuns(t, b)
	record := run("j", "1", job.Queued)
	empty := int64(len(mustMarshal(t, record)))
	record.Path = strings.Repeat("p", int(b.maxPayload.Load()-maxRunHeader-empty-int64(len(`,"path":""`))))
	revision := putRun(t, r, record, 0)
	record.Path += "p"
	start := time.Now()
	_, err := r.Put(within(t, unhurried), record, revision)
	if !errors.Is(err, ErrTooLarge) || time.Since(start) > soon || !strings.Contains(err.Error(), fmt.Sprint(b.maxPayload.Load()-maxRunHeader)) {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if _, now := getRun(t, r, "j", "1"); now != revision {
		t.Errorf("it is at %d, was at %d", now, revision)
	}
}

// What is no name, or no id, is nobody's record.
func TestNamesThatNoRunCanHave(t *testing.T) {
	t.Parallel()
	r := openRuns(t, connectOnly(t, bustest.Start(t).URL(), patient))
	for _, key := range [][2]string{{"", "1"}, {"j", ""}, {"a.b", "1"}, {"j", "1.2"}, {"*", "1"}, {"j", ">"}, {"j", "A"}, {"../j", "1"}} {
		if _, err := r.Put(within(t, unhurried), run(key[0], key[1], job.Queued), 0); err == nil {
			t.Errorf("%v is stored", key)
		}
		if _, revision := getRun(t, r, key[0], key[1]); revision != 0 {
			t.Errorf("%v is there", key)
		}
		if err := r.Remove(within(t, unhurried), key[0], key[1], 1); err == nil {
			t.Errorf("%v is removed", key)
		}
		if _, found, err := r.Await(within(t, unhurried), key[0], key[1], func(job.Run) bool { return false }); found || err != nil {
			t.Errorf("%v is waited for: %v", key, err)
		}
	}
}

// A value that is no record is an error for who asks for it, and is passed over in lists.
func TestValuesThatAreNoRuns(t *testing.T) {
	t.Parallel()
	r := openRuns(t, connectOnly(t, bustest.Start(t).URL()))
	for key, value := range map[string]string{"j.1": "no JSON", "j.2": `{"runId":"3","definition":"j"}`, "j.3": `{"runId":"3","definition":"i"}`, "one": `{}`} {
		if _, err := r.kv.PutString(within(t, patience), key, value); err != nil {
			t.Fatal(err)
		}
	}
	putRun(t, r, run("j", "4", job.Queued), 0)
	if got := slices.Collect(maps.Keys(listed(t, r, ""))); !slices.Equal(got, []string{"j.4"}) {
		t.Errorf("listed are %v", got)
	}
	for _, id := range []string{"1", "2", "3"} {
		if got, revision, err := r.Get(within(t, patience), "j", id); err == nil || revision != 0 {
			t.Errorf("%s: got %+v at %d", id, got, revision)
		}
	}
}
