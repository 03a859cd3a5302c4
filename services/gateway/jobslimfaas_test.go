package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestTicks: figures of .NET itself (DateTime.UnixEpoch.Ticks and others).
func TestTicks(t *testing.T) {
	for text, want := range map[string]int64{
		"1970-01-01T00:00:00Z": 621_355_968_000_000_000, "0001-01-01T00:00:00.0000001Z": 1, "2000-01-01T00:00:00Z": 630_822_816_000_000_000,
		"9999-12-31T23:59:59.9999999Z": 3_155_378_975_999_999_999, "2024-02-29T13:00:00.1234567+01:00": 638_448_048_001_234_567,
	} {
		if got := ticks(must(time.Parse(time.RFC3339Nano, text))(t)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	if got := ticks(time.Time{}); got != -1 {
		t.Errorf("no time: %d", got)
	}
}

// list is GET /job/{name}.
func (f *jobFixture) list(name string) []slimFaasRun {
	f.t.Helper()
	return read[[]slimFaasRun](f.t, f.send("GET", "/job/"+name, ""))
}

// TestListInSlimFaasShape: names and order of SlimFaas, Jobs first, then the queue from 1.
func TestListInSlimFaasShape(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	f.define(definition("b", job.Public))
	if answer := f.send("GET", "/job/a", ""); answer.body != "[]\n" || answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", answer.body, answer.Header)
	}
	f.ask("b", "")
	var ids []string
	for range 4 {
		ids = append(ids, f.ask("a", ""))
	}
	run := f.moveTo("a", ids[0], job.Running, job.ReasonActive)
	answer := f.send("GET", "/job/a", "")
	first, _, _ := strings.Cut(strings.TrimPrefix(answer.body, "["), ",\n")
	want := fmt.Sprintf(`{"Name":"%s","Status":"Running","Id":"%s","PositionInQueue":-1,"InQueueTimestamp":%d,"StartTimestamp":%d}`,
		job.NameOf(run), ids[0], ticks(run.QueuedAt), ticks(run.CreatedAt))
	if first != want {
		t.Errorf("%s, want %s", first, want)
	}
	for i, got := range f.list("a") {
		if i > 0 && (got.ID != ids[i] || got.PositionInQueue != i || got.Status != "Queued" || got.StartTimestamp != -1 || got.InQueueTimestamp != ticks(f.record("a", ids[i]).QueuedAt)) {
			t.Errorf("%d: %+v", i, got)
		}
	}
	f.moveTo("a", ids[2], job.Waiting, job.ReasonDependencyNotReady)
	f.moveTo("a", ids[1], job.Creating, job.ReasonCreating)
	var got []string
	for _, one := range f.list("a") {
		got = append(got, fmt.Sprintf("%s %s %d", one.ID, one.Status, one.PositionInQueue))
	}
	// The newest Job is the first; who is waited for keeps his place.
	if want := fmt.Sprint([]string{ids[1] + " Pending -1", ids[0] + " Running -1", ids[2] + " Queued 1", ids[3] + " Queued 2"}); fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// TestListLeavesOutWhatSlimFaasDoes: a Job is listed for its TTL after its end, one that was cancelled not at all.
func TestListLeavesOutWhatSlimFaasDoes(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	seconds := func(n int32) *int32 { return &n }
	now := time.Now()
	for _, one := range []struct {
		phase  job.Phase
		ago    time.Duration
		ttl    *int32
		status string // empty if it is not listed
	}{
		{job.Succeeded, 5 * time.Second, nil, "Succeeded"}, {job.Failed, 5 * time.Second, nil, "Failed"}, {job.Succeeded, 2 * time.Minute, nil, ""},
		{job.Succeeded, 2 * time.Minute, seconds(3600), "Succeeded"}, {job.Failed, 2 * time.Hour, seconds(3600), ""}, {job.Succeeded, 0, seconds(0), ""},
		{job.Cancelled, 0, seconds(3600), ""}, {job.Rejected, 0, seconds(3600), ""}, {job.Pending, time.Hour, nil, "Pending"}, {job.Running, 48 * time.Hour, seconds(0), "Running"},
	} {
		id := f.ask("a", "")
		f.change("a", id, func(r *job.Run) {
			r.TTL = one.ttl
			*r = r.Move(now, one.phase, "", "")
			if one.phase.Final() {
				r.FinishedAt = now.Add(-one.ago)
			}
		})
		status := ""
		for _, listed := range f.list("a") {
			if listed.ID == id {
				status = listed.Status
			}
		}
		if status != one.status {
			t.Errorf("%+v is listed as %q", one, status)
		}
	}
	id := f.ask("a", "")
	f.moveTo("a", id, job.Pending, "ErrImagePull")
	if got := f.list("a")[0]; got.Status != "ImagePullBackOff" {
		t.Errorf("%+v", got)
	}
}

// TestListIsTheJobsOwn: SlimFaas lists the Jobs of all (and those whose names begin alike).
func TestListIsTheJobsOwn(t *testing.T) {
	f := startJobs(t)
	for _, name := range []string{"a", "ab", "a-b"} {
		f.define(definition(name, job.Public))
		f.moveTo(name, f.ask(name, ""), job.Running, job.ReasonActive)
	}
	for _, name := range []string{"a", "ab", "a-b"} {
		if got := f.list(name); len(got) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, one := range read[[]slimFaasJob](t, f.send("GET", "/jobs/status", "")) {
		if len(one.RunningJobs) != 1 {
			t.Errorf("%+v", one)
		}
	}
}

// TestStatusOfJobs: the shape of SlimFaas, by both routes; private jobs are for those inside.
func TestStatusOfJobs(t *testing.T) {
	f := startJobs(t)
	d := definition("a", job.Public)
	d.DependsOn = []string{"db"}
	f.define(d)
	broken := definition("broken", job.Public)
	broken.Template, broken.Container, broken.Overrides.Images = json.RawMessage(`{"spec":7}`), 3, nil
	f.define(broken)
	f.define(definition("hidden", job.Private))
	f.ask("a", "") // has no Job
	run := f.moveTo("a", f.ask("a", ""), job.Running, job.ReasonActive)
	want := fmt.Sprintf(`[{"Name":"a","Visibility":"Public","Image":"example/batch:1","ImagesWhitelist":["example/batch:*"],"NumberParallelJob":2,`+
		`"Resources":{"Requests":{"cpu":"100m","memory":"64Mi"},"Limits":{"cpu":"1","memory":"128Mi"}},"DependsOn":["db"],"Schedules":[],`+
		`"RunningJobs":[{"Name":"%s","Status":"Running","ElementId":"%s","InQueueTimestamp":%d,"StartTimestamp":%d}]},`+
		`{"Name":"broken","Visibility":"Public","Image":"","ImagesWhitelist":[],"NumberParallelJob":2,"Resources":null,"DependsOn":[],"Schedules":[],"RunningJobs":[]}]`,
		run.JobName, run.ID, ticks(run.QueuedAt), ticks(run.CreatedAt))
	for _, path := range []string{"/jobs/status", "/status-jobs"} {
		if answer := f.send("GET", path, ""); strings.TrimSpace(answer.body) != want {
			t.Errorf("%s: %s, want %s", path, answer.body, want)
		}
		if inside := read[[]slimFaasJob](t, f.inside("GET", path)); len(inside) != 3 || inside[2].Name != "hidden" {
			t.Errorf("inside: %+v", inside)
		}
		if answer := f.send("HEAD", path, ""); answer.StatusCode != http.StatusOK || answer.body != "" {
			t.Errorf("HEAD %s: %s", path, answer.Status)
		}
	}
}

// TestStatusIsBounded: those that are not over come first, then the newest.
func TestStatusIsBounded(t *testing.T) {
	var runs []*knownRun
	for i := range 3 * maxShownRuns {
		phase := job.Succeeded
		if i%2 == 0 && i >= 2*maxShownRuns {
			phase = job.Running
		}
		runs = append(runs, &knownRun{ID: fmt.Sprint(i), Phase: phase})
	}
	shown := firstShown(runs)
	if len(shown) != maxShownRuns || shown[0].ID != "2000" || shown[499].ID != "2998" || shown[500].ID != "0" || shown[999].ID != "499" {
		t.Errorf("%d runs: %s, %s, %s, %s", len(shown), shown[0].ID, shown[499].ID, shown[500].ID, shown[999].ID)
	}
}

// streamedJobs is the part of a snapshot that has the jobs.
func streamedJobs(t testing.TB, s snapshot) []slimFaasJob {
	t.Helper()
	var state struct{ Jobs []slimFaasJob }
	if err := json.Unmarshal([]byte(s.Raw), &state); err != nil {
		t.Fatal(err)
	}
	return state.Jobs
}

// TestStreamOfJobs: the status stream has the jobs with what changes about them, as GET /jobs/status.
func TestStreamOfJobs(t *testing.T) {
	t.Parallel()
	f := startJobs(t)
	f.define(definition("a", job.Public))
	f.define(definition("hidden", job.Private))
	outside, inside := f.followStatus(false), f.followStatus(true)
	first := nextState(t, outside, "the state", anyState)
	if jobs := streamedJobs(t, first); len(jobs) != 1 || jobs[0].Name != "a" || jobs[0].Image != "example/batch:1" || strings.Contains(first.Raw, "hidden") {
		t.Errorf("outside: %s", first.Raw)
	}
	if jobs := streamedJobs(t, nextState(t, inside, "the state", anyState)); len(jobs) != 2 {
		t.Errorf("inside: %+v", jobs)
	}
	id := f.ask("a", "")
	f.moveTo("a", id, job.Running, job.ReasonActive)
	running := func(s snapshot) bool {
		jobs := streamedJobs(t, s)
		return len(jobs[0].RunningJobs) == 1 && jobs[0].RunningJobs[0].ElementId == id && jobs[0].RunningJobs[0].Status == "Running"
	}
	nextState(t, outside, "the run", running)
	nextState(t, inside, "the run", running)
	f.change("a", id, func(r *job.Run) {
		ttl := int32(2)
		r.TTL, r.FinishedAt = &ttl, time.Now()
		*r = r.Move(time.Now(), job.Succeeded, "", "")
	})
	nextState(t, outside, "its Job to go, though nothing else changes", func(s snapshot) bool { return len(streamedJobs(t, s)[0].RunningJobs) == 0 })
	f.undefine("a")
	nextState(t, outside, "the job to go", func(s snapshot) bool { return len(streamedJobs(t, s)) == 0 })
}
