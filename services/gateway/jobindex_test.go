package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/job"
)

// at is a time that many seconds after another one.
func at(seconds int) time.Time { return time.Unix(1_700_000_000+int64(seconds), 0).UTC() }

// TestIndexTakesTheNewest: whatever order records come in, as they do after a reconnect or when we have written one ourselves.
func TestIndexTakesTheNewest(t *testing.T) {
	x := newRunIndex()
	run := job.Run{ID: "1", Definition: "a", Phase: job.Running, QueuedAt: at(0)}
	x.ApplyRun(run, 7)
	run.Phase = job.Queued
	x.ApplyRun(run, 5)
	x.ApplyRun(run, 7)
	if got := x.of("a", func(*knownRun) bool { return true }); len(got) != 1 || got[0].Phase != job.Running {
		t.Errorf("%+v", got)
	}
	x.RemoveRun("a", "1")
	x.RemoveRun("a", "1")
	x.RemoveRun("b", "1")
	if x.has("a") || len(x.runs) > 0 {
		t.Error("it is still there")
	}
}

// TestIndexTellsTheEnd: to all who wait, once, and keeps nothing of those who have left.
func TestIndexTellsTheEnd(t *testing.T) {
	x := newRunIndex()
	key := runKey{"a", "1"}
	run := job.Run{ID: "1", Definition: "a", Phase: job.Running}
	first, leaveFirst := x.over(key)
	second, leaveSecond := x.over(key)
	x.ApplyRun(run, 1)
	select {
	case <-first:
		t.Error("a run that runs is not over")
	default:
	}
	run.Phase = job.Failed
	x.ApplyRun(run, 2)
	wait(t, "the end", first)
	wait(t, "the end", second)
	leaveFirst()
	third, leaveThird := x.over(key) // a new wait, which the second one does not end by leaving
	leaveSecond()
	x.RemoveRun("a", "1")
	wait(t, "the removal", third)
	leaveThird()
	_, leave := x.over(key)
	leave()
	if len(x.waiting) > 0 {
		t.Errorf("%v", x.waiting)
	}
}

// TestPositions: a run's position is its place in the queue, whatever there is besides.
func TestPositions(t *testing.T) {
	phase := rapid.SampledFrom([]job.Phase{job.Queued, job.Waiting, job.Creating, job.Pending, job.Running, job.Succeeded, job.Cancelled})
	rapid.Check(t, func(t *rapid.T) {
		x := newRunIndex()
		count := rapid.IntRange(0, 20).Draw(t, "count")
		for i := range count {
			x.ApplyRun(job.Run{
				ID: fmt.Sprint(i), Definition: "a", Phase: phase.Draw(t, "phase"), Sequence: rapid.Uint64Range(0, 5).Draw(t, "sequence"),
				QueuedAt: at(rapid.IntRange(0, 3).Draw(t, "queued")),
			}, uint64(i+1))
		}
		queue := x.queue("a")
		if !slices.IsSortedFunc(queue, inQueueOrder) {
			t.Fatalf("%+v", queue)
		}
		places := map[string]int{}
		for i, k := range queue {
			places[k.ID] = i + 1
		}
		for i := range count {
			if got := x.position(runKey{"a", fmt.Sprint(i)}); got != places[fmt.Sprint(i)] {
				t.Fatalf("run %d has position %d, want %d", i, got, places[fmt.Sprint(i)])
			}
		}
	})
}

// TestPages: page by page come all runs once, the newest first, though more are added meanwhile.
func TestPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newRunIndex()
		count := rapid.IntRange(0, 30).Draw(t, "count")
		for i := range count {
			x.ApplyRun(job.Run{ID: fmt.Sprintf("run-%d", i), Definition: "a", Phase: job.Queued, QueuedAt: at(rapid.IntRange(0, 5).Draw(t, "queued"))}, uint64(i+1))
		}
		asked := pageRequest{limit: rapid.IntRange(1, 10).Draw(t, "limit")}
		var seen []*knownRun
		for pages := 0; ; pages++ {
			page := x.page("a", asked)
			if len(page.Runs) > asked.limit || pages > count {
				t.Fatalf("page %d has %d runs", pages, len(page.Runs))
			}
			for _, one := range page.Runs {
				seen = append(seen, one.knownRun)
			}
			x.ApplyRun(job.Run{ID: fmt.Sprintf("later-%d", pages), Definition: "a", Phase: job.Queued, QueuedAt: at(100)}, 1)
			if page.Continue == "" {
				break
			}
			var ok bool
			if asked.after, ok = parseContinue(page.Continue); !ok {
				t.Fatalf("%q cannot be read", page.Continue)
			}
		}
		if len(seen) != count || !slices.IsSortedFunc(seen, newestFirst) {
			t.Fatalf("%d of %d runs", len(seen), count)
		}
	})
}

func FuzzContinue(f *testing.F) {
	f.Add(continueAfter(&knownRun{ID: "run-1", QueuedAt: at(0)}))
	f.Add("")
	f.Add("=")
	f.Fuzz(func(t *testing.T, text string) {
		after, ok := parseContinue(text)
		if !ok {
			return
		}
		again, ok := parseContinue(continueAfter(after))
		if !ok || again.ID != after.ID || !again.QueuedAt.Equal(after.QueuedAt) {
			t.Errorf("%q is %+v, then %+v", text, after, again)
		}
	})
}
