package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// TestDescribeRun: the record, without the Job's spec; a Job that may exist is Pending.
func TestDescribeRun(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	first, id := f.ask("a", ""), f.ask("a", `{"nonsense":1}`)
	answer := f.inside("GET", "/jobs/a/runs/"+id)
	got := read[shownRun](t, answer)
	if got.Phase != job.Queued || got.Position != 2 || got.ID != id || got.Definition != "a" || len(got.Warnings) != 1 || strings.Contains(answer.body, "example/batch") || strings.Contains(answer.body, `"spec"`) {
		t.Errorf("%s", answer.body)
	}
	if !strings.Contains(answer.body, `"queuedAt":"`+f.record("a", id).QueuedAt.Format(time.RFC3339Nano)) || strings.Contains(answer.body, "finishedAt") {
		t.Errorf("%s", answer.body)
	}
	f.moveTo("a", first, job.Creating, job.ReasonCreating)
	answer = f.send("GET", "/jobs/a/runs/"+first, "")
	if got := read[shownRun](t, answer); got.Phase != job.Pending || got.Position != 0 || got.Moves[1].Phase != job.Pending || f.record("a", first).Moves[1].Phase != job.Creating {
		t.Errorf("%s", answer.body)
	}
	if got := read[shownRun](t, f.send("GET", "/jobs/a/runs/"+id, "")); got.Position != 1 {
		t.Errorf("%+v", got)
	}
	if answer := f.send("HEAD", "/jobs/a/runs/"+id, ""); answer.StatusCode != http.StatusOK || answer.body != "" {
		t.Errorf("%s", answer.Status)
	}
	for _, unknown := range []string{"nothing", "*", ">", "%3E", "%2e%2e", "a.b", "A", strings.Repeat("x", 64), "%00"} {
		for _, route := range []string{"GET /jobs/a/runs/%s", "DELETE /jobs/a/runs/%s", "DELETE /job/a/%s", "GET /jobs/a/runs/%s/logs"} {
			expectProblem(t, f.raw(strings.ReplaceAll(route, "%s", unknown)+" HTTP/1.1\r\nHost: a\r\n\r\n"), unknownRun)
		}
	}
}

// TestRow3OutsideIsNotToldWhatOthersAsk: requests, addresses and nodes are for those inside.
func TestRow3OutsideIsNotToldWhatOthersAsk(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a/with/path-1", `{"env":[{"name":"TOKEN","value":"s3cret"}],"dependsOn":["private-db"],"passwordOfBob":1}`)
	f.change("a", id, func(r *job.Run) {
		r.Pods = []job.Pod{{Name: "p", Node: "node-1", Phase: "Running"}}
		*r = r.Cancel(time.Now(), "10.9.8.7")
	})
	outside, inside := f.send("GET", "/jobs/a/runs/"+id, ""), f.inside("GET", "/jobs/a/runs/"+id)
	hash := read[job.Run](t, inside).SpecHash
	for _, word := range []string{"127.0.0.1", "10.9.8.7", "node-1", "s3cret", "path-1", "private-db", "passwordOfBob", hash} {
		if strings.Contains(outside.body, word) || !strings.Contains(inside.body, word) {
			t.Errorf("%s: outside %s, inside %s", word, outside.body, inside.body)
		}
	}
	if got := read[shownRun](t, outside); len(got.Pods) != 1 || got.Ending == nil || got.Ending.Reason != job.ReasonUserRequested {
		t.Errorf("%+v", got)
	}
	for phase, sentence := range map[job.Phase]string{job.Rejected: "image: \"bobs\" is not allowed", job.Waiting: "bobs-db is not ready"} {
		f.change("a", id, func(r *job.Run) { r.Phase, r.Message = phase, sentence })
		if outside := f.send("GET", "/jobs/a/runs/"+id, ""); strings.Contains(outside.body, "bobs") {
			t.Errorf("%s: outside %s", phase, outside.body)
		}
	}
}

// TestRunsOfAJobThatIsGone are there for those inside.
func TestRunsOfAJobThatIsGone(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	f.undefine("a")
	for _, route := range []string{"GET /jobs/a/runs", "GET /jobs/a/runs/" + id, "DELETE /jobs/a/runs/" + id} {
		method, path, _ := strings.Cut(route, " ")
		expectProblem(t, f.send(method, path, ""), unknownJob)
		if answer := f.inside(method, path); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", route, answer.Status, answer.body)
		}
	}
	expectProblem(t, f.inside("POST", "/job/a"), unknownJob)
	expectProblem(t, f.inside("GET", "/jobs/nobody/runs"), unknownJob)
}

// TestWaitForTheEnd: the answer comes with it, or when the time is over.
func TestWaitForTheEnd(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	if got := read[shownRun](t, f.send("GET", "/jobs/a/runs/"+id+"?wait=10ms", "")); got.Phase != job.Queued {
		t.Errorf("%+v", got)
	}
	var requests []*http.Request
	for range 10 {
		requests = append(requests, f.request("GET", "/jobs/a/runs/"+id+"?wait=20h", ""))
	}
	answers := f.later(requests...)
	eventually(t, "ten to wait", func() bool { return f.waits.Load() == 10 })
	f.moveTo("a", id, job.Running, job.ReasonActive)
	f.moveTo("a", id, job.Succeeded, job.ReasonCompletionsReached)
	for range requests {
		if got := read[shownRun](t, wait(t, "the answer", answers)); got.Phase != job.Succeeded || got.FinishedAt.IsZero() {
			t.Errorf("%+v", got)
		}
	}
	if got := read[shownRun](t, f.send("GET", "/jobs/a/runs/"+id+"?wait=5m", "")); got.Phase != job.Succeeded {
		t.Errorf("%+v", got)
	}
	for _, nonsense := range []string{"", "30", "-1s", "soon", "1s&wait=2s", "99999999999999h"} {
		expectProblem(t, f.send("GET", "/jobs/a/runs/"+id+"?wait="+nonsense, ""), badRequest)
	}
	expectProblem(t, f.send("GET", "/jobs/a/runs/nothing?wait=20h", ""), unknownRun)
	eventually(t, "nobody to wait", func() bool { return f.waits.Load() == 0 && len(f.jobs.runs.waiting) == 0 })
}

// TestWaitsEnd: with the caller, the record, and the gateway.
func TestWaitsEnd(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	gone, removed, left := f.ask("a", ""), f.ask("a", ""), f.ask("a", "")
	ctx, hangUp := context.WithCancel(t.Context())
	var caller sync.WaitGroup
	caller.Go(func() {
		if answer, err := f.client.Do(f.request("GET", "/jobs/a/runs/"+gone+"?wait=5m", "").WithContext(ctx)); err == nil {
			answer.Body.Close()
			t.Error(answer.Status)
		}
	})
	eventually(t, "him to wait", func() bool { return f.waits.Load() == 1 })
	hangUp()
	caller.Wait()
	eventually(t, "his wait to end", func() bool { return f.waits.Load() == 0 })

	answers := f.later(f.request("GET", "/jobs/a/runs/"+removed+"?wait=5m", ""))
	eventually(t, "the next to wait", func() bool { return f.waits.Load() == 1 })
	_, revision, err := f.records.Get(t.Context(), "a", removed)
	if err == nil {
		err = f.records.Remove(t.Context(), "a", removed, revision)
	}
	if err != nil {
		t.Fatal(err)
	}
	expectProblem(t, wait(t, "the answer", answers), unknownRun)

	answers = f.later(f.request("GET", "/jobs/a/runs/"+left+"?wait=5m", ""))
	eventually(t, "the last to wait", func() bool { return f.waits.Load() == 1 })
	f.stopTaking()
	if got := read[shownRun](t, wait(t, "the answer", answers)); got.Phase != job.Queued {
		t.Errorf("%+v", got)
	}
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
}

// TestTooManyWait: those beyond the limit get the run as it is.
func TestTooManyWait(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	f.waits.Add(maxWaits)
	if got := read[shownRun](t, f.send("GET", "/jobs/a/runs/"+id+"?wait=5m", "")); got.Phase != job.Queued {
		t.Errorf("%+v", got)
	}
	if n := f.waits.Add(-maxWaits); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// TestCancel: by both routes, in every phase, as often as one likes (H4).
func TestCancel(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	for _, phase := range []job.Phase{job.Queued, job.Waiting, job.Creating, job.Pending, job.Running} {
		for _, route := range []string{"/job/a/", "/jobs/a/runs/"} {
			id := f.ask("a", "")
			f.moveTo("a", id, phase, "")
			for range 3 {
				if answer := f.send("DELETE", route+id, ""); answer.StatusCode != http.StatusOK || (route == "/job/a/") != (answer.body == "") {
					t.Errorf("%s %s: %s %s", phase, route, answer.Status, answer.body)
				}
			}
			ending := f.record("a", id).Ending
			if ending == nil || ending.Phase != job.Cancelled || ending.Reason != job.ReasonUserRequested || ending.By != "127.0.0.1" || f.record("a", id).Phase != phase {
				t.Errorf("%s: %+v", phase, ending)
			}
		}
	}
	for _, phase := range []job.Phase{job.Succeeded, job.Failed, job.Cancelled, job.Rejected} {
		id := f.ask("a", "")
		f.moveTo("a", id, phase, "")
		if got := read[shownRun](t, f.send("DELETE", "/jobs/a/runs/"+id, "")); got.Phase != phase || f.record("a", id).Ending != nil {
			t.Errorf("%s: %+v", phase, got)
		}
		if answer := f.send("DELETE", "/job/a/"+id, ""); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", phase, answer.Status)
		}
	}
}

// TestCancelRace: a jobrunner that writes all the time, and a caller who cancels: the run is to end, or was over before, and nothing that the jobrunner has
// written is lost.
func TestCancelRace(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	for round := range 10 {
		id := f.ask("a", "")
		var moves int
		var jobrunner sync.WaitGroup
		jobrunner.Go(func() {
			for moves < 200 {
				run, revision, err := f.records.Get(t.Context(), "a", id)
				if err != nil {
					t.Error(err)
					return
				}
				if run.Ending != nil {
					return
				}
				run = run.Move(time.Now(), job.Running, fmt.Sprint(moves), "")
				if round%2 == 0 && moves == 20 {
					run = run.Move(time.Now(), job.Succeeded, fmt.Sprint(moves), "")
				}
				_, err = f.records.Put(t.Context(), run, revision)
				if err != nil && !errors.Is(err, bus.ErrOvertaken) {
					t.Error(err)
					return
				}
				if err == nil {
					moves++
				}
				if run.Phase.Final() && err == nil {
					return
				}
			}
		})
		eventually(t, "the jobrunner to begin", func() bool { return f.record("a", id).Phase != job.Queued })
		answer := f.send("DELETE", "/jobs/a/runs/"+id, "")
		jobrunner.Wait()
		run := f.record("a", id)
		if answer.StatusCode != http.StatusOK || (run.Ending == nil) != run.Phase.Final() || run.Reason != fmt.Sprint(moves-1) {
			t.Errorf("%s %s: %+v after %d moves", answer.Status, answer.body, run, moves)
		}
	}
}

// TestRunPages: the pages over HTTP, with phases in any case.
func TestRunPages(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	if answer := f.send("GET", "/jobs/a/runs", ""); strings.TrimSpace(answer.body) != `{"runs":[]}` {
		t.Errorf("%s", answer.body)
	}
	var ids []string
	for range 5 {
		ids = append(ids, f.ask("a", ""))
	}
	f.moveTo("a", ids[1], job.Creating, job.ReasonCreating)
	f.moveTo("a", ids[2], job.Failed, "BackoffLimitExceeded")
	var got []string
	query := "?limit=2"
	for query != "" {
		page := read[readPage](t, f.send("GET", "/jobs/a/runs"+query, ""))
		for _, one := range page.Runs {
			got = append(got, fmt.Sprintf("%s %s %d", one.ID, one.Phase, one.Position))
		}
		if query = ""; page.Continue != "" {
			query = "?limit=2&continue=" + page.Continue
		}
	}
	want := []string{ids[4] + " Queued 3", ids[3] + " Queued 2", ids[2] + " Failed 0", ids[1] + " Pending 0", ids[0] + " Queued 1"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for query, want := range map[string]int{"?phase=queued": 3, "?phase=Failed": 1, "?phase=PENDING": 1, "?phase=Succeeded": 0, "?phase=": 5, "?limit=": 5, "?limit=1000": 5} {
		if page := read[readPage](t, f.send("GET", "/jobs/a/runs"+query, "")); len(page.Runs) != want {
			t.Errorf("%s: %+v", query, page)
		}
	}
	for _, query := range []string{"?phase=Creating", "?phase=x", "?limit=0", "?limit=1001", "?limit=-1", "?limit=x", "?continue=x", "?continue=!"} {
		expectProblem(t, f.send("GET", "/jobs/a/runs"+query, ""), badRequest)
	}
	failed := read[struct{ Runs []json.RawMessage }](t, f.send("GET", "/jobs/a/runs?phase=failed", ""))
	for _, part := range []string{`"runId":"` + ids[2] + `"`, `"reason":"BackoffLimitExceeded"`, `"finishedAt":"20`, `"jobName":"a-`, `"attempt":1`} {
		if !strings.Contains(string(failed.Runs[0]), part) {
			t.Errorf("%s lacks %s", failed.Runs[0], part)
		}
	}
}

// TestDescribeJobs: problems are for those inside.
func TestDescribeJobs(t *testing.T) {
	f := startJobs(t)
	d := definition("a", job.Public)
	d.DependsOn, d.Problems, d.Aliases = []string{"db"}, []string{"sluice/NumberParallelJob: \"x\" is no number"}, []string{"a_"}
	f.define(d)
	f.define(definition("hidden", job.Private))
	const want = `[{"name":"a","aliases":["a_"],"visibility":"Public","parallel":2,"dependsOn":["db"],"generation":"g1","source":"CronJob/a"}]`
	if answer := f.send("GET", "/jobs", ""); strings.TrimSpace(answer.body) != want {
		t.Errorf("%s", answer.body)
	}
	inside := read[[]shownJob](t, f.inside("GET", "/jobs"))
	if len(inside) != 2 || len(inside[0].Problems) != 1 || inside[1].Name != "hidden" {
		t.Errorf("%+v", inside)
	}
}
