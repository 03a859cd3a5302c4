// Package jobrunnertest holds the conformance suite of jobrunner.Cluster, which both clusters pass: Kubernetes and the
// processes of the local mode. Its Recorder serves other tests that watch a cluster.
package jobrunnertest

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// Fixture is a cluster to be tested, without definitions and Jobs, which has not been watched yet.
type Fixture struct {
	Cluster jobrunner.Cluster
	// Apply makes a definition of that name, as a person does, and Remove removes it. Its one container is called as the definition and runs Program with the container's arguments; its
	// backoffLimit is 0, its restartPolicy Never.
	Apply, Remove func(t *testing.T, name string)
	// Prefix are arguments that come before those of Program.
	Prefix []string
	// Ready is a workload with a ready replica, with its kind; empty where there are none.
	Ready string
	// Timeout bounds each wait, for a start as well as for an end.
	Timeout time.Duration
}

// RunCluster checks the contract of jobrunner.Cluster. Each part gets a cluster of its own.
func RunCluster(t *testing.T, newCluster func(t *testing.T) Fixture) {
	parts := map[string]func(*testing.T, *running){
		"defines and undefines":                         defines,
		"creates a Job once, suspended":                 createsOnce,
		"runs nothing before it is resumed":             runsNothingBefore,
		"resumes what has not changed, once":            resumesOnce,
		"ends as the container does":                    endsAsTheContainer,
		"reads output":                                  readsOutput,
		"follows output to its end":                     followsOutput,
		"deletes the Job with the UID alone":            deletesThatOne,
		"deletes what has not changed":                  deletesThatVersion,
		"deletes the pods with the Job":                 deletesPods,
		"lets go of a Job that has ended and its TTL":   letsGo,
		"refuses what is invalid":                       refusesInvalid,
		"checks, and makes nothing":                     checks,
		"reports workloads":                             reportsWorkloads,
		"tells all that is there, then that it is all":  tellsAllFirst,
		"is silent after Watch has returned":            isSilentAfterwards,
		"takes requests at the same time, each by name": takesConcurrentRequests,
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) {
			f := newCluster(t)
			r := &running{Fixture: f, t: t}
			r.Recorder, r.stop = Watch(t, f.Cluster)
			part(t, r)
		})
	}
}

// running is a cluster that is watched.
type running struct {
	Fixture
	*Recorder
	t    *testing.T
	stop func()
}

// define makes a definition and returns it as it was observed.
func (r *running) define(name string) (d job.Definition) {
	r.t.Helper()
	r.Apply(r.t, name)
	r.Await(r.t, "there is a definition "+name, r.Timeout, func(k Known) bool { d = k.Definitions[name]; return d.Name == name })
	return d
}

// manifest is that of a run whose Program has the arguments.
func (r *running) manifest(d job.Definition, id string, args ...string) json.RawMessage {
	r.t.Helper()
	body, err := json.Marshal(map[string]any{"args": append(slices.Clone(r.Prefix), args...)})
	if err != nil {
		r.t.Fatal(err)
	}
	run := job.Accept(d, job.Message{Definition: d.Name, RunID: id, Body: body, Accepted: time.Now()}, time.Now())
	if run.Phase != job.Queued {
		r.t.Fatalf("the run is %s: %s: %s", run.Phase, run.Reason, run.Message)
	}
	manifest, err := job.Manifest(run, r.Cluster.Namespace())
	if err != nil {
		r.t.Fatal(err)
	}
	return manifest
}

// create makes a Job that is called after the run.
func (r *running) create(d job.Definition, id string, args ...string) job.Object {
	r.t.Helper()
	made, err := r.Cluster.Create(r.t.Context(), r.manifest(d, id, args...))
	if err != nil {
		r.t.Fatal(err)
	}
	return *made
}

// start makes a Job and lets it run.
func (r *running) start(d job.Definition, id string, args ...string) job.Object {
	r.t.Helper()
	return Resume(r.t, r.Cluster, r.create(d, id, args...))
}

// Resume lets a Job run, as often as it changes meanwhile: Kubernetes' controller notes on a new Job that it is suspended.
func Resume(t testing.TB, cluster jobrunner.Cluster, made job.Object) job.Object {
	t.Helper()
	for range 10 {
		resumed, err := cluster.Resume(t.Context(), made.Name, made.UID, made.Version)
		if err == nil {
			return *resumed
		}
		now, readErr := cluster.Get(t.Context(), made.Name)
		if !errors.Is(err, jobrunner.ErrChanged) || readErr != nil || now == nil || now.UID != made.UID {
			t.Fatalf("resume the Job: %v; it is %+v, %v", err, now, readErr)
		}
		made = *now
	}
	t.Fatalf("the Job %s changes too fast", made.Name)
	return made
}

// ended waits for the end of a Job.
func (r *running) ended(uid string) job.Object {
	r.t.Helper()
	return r.AwaitObject(r.t, uid, r.Timeout, func(o job.Object) bool { return o.End != "" })
}

// runs waits until a pod of the Job runs, and returns its name.
func (r *running) runs(uid string) (pod string) {
	r.t.Helper()
	o := r.AwaitObject(r.t, uid, r.Timeout, func(o job.Object) bool {
		return o.Started() && slices.ContainsFunc(o.Pods, func(p job.Pod) bool { return p.Phase == "Running" })
	})
	return o.Pods[len(o.Pods)-1].Name
}

// get reads a Job, which must not fail.
func (r *running) get(name string) *job.Object {
	r.t.Helper()
	o, err := r.Cluster.Get(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// atRest returns a Job as soon as nobody changes it any more.
func (r *running) atRest(name string) job.Object {
	r.t.Helper()
	before := r.get(name)
	for deadline := time.Now().Add(r.Timeout); ; {
		<-time.After(short)
		now := r.get(name)
		if now.Version == before.Version {
			return *now
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the Job changes again and again, and is %+v", now)
		}
		before = now
	}
}

// output reads what a container has written, in lines.
func (r *running) output(pod, container string, tail int, follow bool) []string {
	r.t.Helper()
	stream, err := r.Cluster.Logs(r.t.Context(), pod, container, tail, follow)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	text, err := io.ReadAll(stream)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// wants fails the test unless the error is of the kind.
func (r *running) wants(what string, err, kind error) {
	r.t.Helper()
	if !errors.Is(err, kind) {
		r.t.Errorf("%s: the error is %v, want one that is %q", what, err, kind)
	}
}

// short is for how long something that must not happen is waited for.
const short = 500 * time.Millisecond
