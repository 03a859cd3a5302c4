package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
)

// jobFixture is a fixture with what a jobrunner makes.
type jobFixture struct {
	*fixture
	shared  *bus.Definitions
	records *bus.Runs
}

// startJobs starts a Gateway beside a jobrunner that does nothing by itself.
func startJobs(t testing.TB, changes ...func(*options)) *jobFixture {
	t.Helper()
	f := &jobFixture{fixture: start(t, changes...)}
	f.install()
	return f
}

// install makes what the jobrunner makes, and waits until the gateway has seen it.
func (f *jobFixture) install() {
	f.t.Helper()
	if err := f.bus.EnsureJobs(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.shared = must(f.bus.OpenDefinitions(f.t.Context()))(f.t)
	f.records = must(f.bus.OpenRuns(f.t.Context()))(f.t)
	wait(f.t, "the gateway to know the jobs", f.jobs.known)
	wait(f.t, "the gateway to know the runs", f.jobs.runs.known)
}

// definition is a job with one container.
func definition(name string, visibility job.Visibility) job.Definition {
	return job.Definition{
		Name: name, Source: "CronJob/" + name, Generation: "g1", Visibility: visibility, Parallel: 2, StartDeadline: 600,
		Overrides: job.Overrides{OnExceed: job.Reject, MaxTTL: 86400, MaxBackoffLimit: 6, Images: []string{"example/batch:*"}},
		Logs:      job.Logs{Save: "Always", TailLines: 10_000, MaxBytes: 10 << 20},
		Template: json.RawMessage(`{"spec":{"backoffLimit":1,"ttlSecondsAfterFinished":60,"template":{"spec":{"restartPolicy":"Never","containers":[` +
			`{"name":"c","image":"example/batch:1","args":["10"],"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"cpu":1,"memory":"128Mi"}}}]}}}}`),
	}
}

// define shares a job, and waits until the gateway has it.
func (f *jobFixture) define(d job.Definition) job.Definition {
	f.t.Helper()
	must(f.shared.Put(f.t.Context(), d))(f.t)
	eventually(f.t, "the gateway to have the job", func() bool {
		known, ok := f.jobs.find(d.Name)
		return ok && known.Name == d.Name && fmt.Sprint(known) == fmt.Sprint(d)
	})
	return d
}

// undefine removes a job.
func (f *jobFixture) undefine(name string) {
	f.t.Helper()
	if err := f.shared.Delete(f.t.Context(), name); err != nil {
		f.t.Fatal(err)
	}
	eventually(f.t, "the job to go", func() bool { known, ok := f.jobs.find(name); return !ok || known.Name != name })
}

// ask sends a request for a run of a job that must be accepted, and returns the run's id.
func (f *jobFixture) ask(name, body string) string {
	f.t.Helper()
	return f.accepted(f.send("POST", "/job/"+name, body))
}

func (f *jobFixture) accepted(answer result) string {
	f.t.Helper()
	var got queuedJob
	if err := json.Unmarshal([]byte(answer.body), &got); err != nil || answer.StatusCode != http.StatusAccepted || got.RunID == "" {
		f.t.Fatalf("%s %s: %v", answer.Status, answer.body, err)
	}
	return got.RunID
}

// record is the record of a run, as it is in the bucket.
func (f *jobFixture) record(name, id string) job.Run {
	f.t.Helper()
	run, revision, err := f.records.Get(f.t.Context(), name, id)
	if err != nil || revision == 0 {
		f.t.Fatalf("the record of %s: revision %d, %v", id, revision, err)
	}
	return run
}

// change is what a jobrunner does: it changes a record, and again if somebody was faster. It waits until the gateway has seen it.
func (f *jobFixture) change(name, id string, change func(*job.Run)) job.Run {
	f.t.Helper()
	for {
		run, revision, err := f.records.Get(f.t.Context(), name, id)
		if err != nil {
			f.t.Fatal(err)
		}
		change(&run)
		revision, err = f.records.Put(f.t.Context(), run, revision)
		if errors.Is(err, bus.ErrOvertaken) {
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		f.sees(revision)
		return run
	}
}

// sees waits until the gateway has seen that revision of the records.
func (f *jobFixture) sees(revision uint64) {
	f.t.Helper()
	eventually(f.t, "the gateway to see the record", func() bool { return f.jobs.runs.revision.Load() >= revision })
}

// moveTo changes the phase of a run.
func (f *jobFixture) moveTo(name, id string, phase job.Phase, reason string) job.Run {
	f.t.Helper()
	return f.change(name, id, func(r *job.Run) {
		now := time.Now()
		if phase != job.Queued && phase != job.Waiting && r.JobName == "" {
			r.JobName, r.CreatedAt = job.NameOf(*r), now
		}
		if phase == job.Running && r.StartedAt.IsZero() {
			r.StartedAt = now
		}
		if phase.Final() {
			r.FinishedAt, r.Spec = now, nil
		}
		*r = r.Move(now, phase, reason, "")
	})
}

// queue is what is queued of a job.
func (f *jobFixture) queue(name string) (queued []job.Message) {
	f.t.Helper()
	_, err := f.bus.ScanJobs(f.t.Context(), 0, func(m job.Message) bool {
		if m.Definition == name {
			queued = append(queued, m)
		}
		return true
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return queued
}

// read reads an answer as JSON.
func read[T any](t testing.TB, answer result) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer.body), &value); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %v", answer.Status, answer.body, err)
	}
	return value
}

// readPage is a page of runs as callers read it.
type readPage struct {
	Runs []struct {
		ID       string `json:"runId"`
		Phase    job.Phase
		Position int
	}
	Continue string
}

// jobRoutes are all that ask about one job, with %s for its name and, where there is a second one, for the id of a run.
var jobRoutes = []string{
	"POST /job/%s", "POST /job/%s/x", "GET /job/%s", "HEAD /job/%s", "DELETE /job/%s/run-1", "GET /jobs/%s/runs", "GET /jobs/%s/runs/run-1", "GET /jobs/%s/runs/run-1?wait=1s",
	"DELETE /jobs/%s/runs/run-1", "GET /jobs/%s/runs/run-1/logs", "GET /jobs/%s/runs/run-1/logs?follow=true",
}

// TestJobsWithoutJobrunner: jobs answer 503, and the functions are served as ever, until there is one.
func TestJobsWithoutJobrunner(t *testing.T) {
	f := &jobFixture{fixture: start(t)}
	handler, _ := recorder()
	f.serve("f", handler)
	routes := []string{"GET /jobs", "GET /jobs/status", "GET /status-jobs"}
	for _, route := range jobRoutes {
		if route[:4] != "HEAD" {
			routes = append(routes, fmt.Sprintf(route, "a"))
		}
	}
	for _, route := range routes {
		var method, path string
		fmt.Sscan(route, &method, &path)
		expectProblem(t, f.send(method, path, ""), noJobs)
		expectProblem(t, f.inside(method, path), noJobs)
	}
	for _, path := range []string{"/function/f", "/ready", "/health"} {
		if answer := f.send("GET", path, ""); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
	f.install()
	f.define(definition("a", job.Public))
	f.ask("a", "")
}

// TestGatewayStopsWithoutJobrunner: the wait for one does not hold it up.
func TestGatewayStopsWithoutJobrunner(t *testing.T) {
	f := start(t)
	f.stopTaking()
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
}

// TestJobsAfterReconnect: what has changed while NATS was away is known after it.
func TestJobsAfterReconnect(t *testing.T) {
	f := startJobs(t)
	f.define(definition("a", job.Public))
	id := f.ask("a", "")
	f.nats.Stop()
	f.nats.Start()
	eventually(t, "NATS to be back", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.shared.Put(ctx, definition("b", job.Public))
		return err == nil
	})
	eventually(t, "the other job", func() bool { known, ok := f.jobs.find("b"); return ok && known.Name == "b" })
	f.moveTo("a", id, job.Running, job.ReasonActive)
	if got := read[shownRun](t, f.send("GET", "/jobs/a/runs/"+id, "")); got.Phase != job.Running {
		t.Errorf("%+v", got)
	}
	f.ask("b", "")
}
