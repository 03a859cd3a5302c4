package jobrunnertest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

func defines(t *testing.T, r *running) {
	d := r.define("fibonacci")
	if d.Parallel != 1 || len(d.Problems) > 0 || !json.Valid(d.Template) || d.Generation == "" {
		t.Errorf("the definition is %+v", d)
	}
	r.define("other")
	r.Remove(t, "fibonacci")
	r.Await(t, "the definition is gone", r.Timeout, func(k Known) bool { return len(k.Definitions) == 1 && k.Definitions["other"].Name != "" })
	if again := r.define("fibonacci"); again.Generation != d.Generation {
		t.Errorf("the same definition has the generation %s, and had %s", again.Generation, d.Generation)
	}
}

func createsOnce(t *testing.T, r *running) {
	d := r.define("fibonacci")
	made := r.create(d, "a", "7")
	want := job.Object{
		Name: made.Name, UID: made.UID, Version: made.Version, RunID: "a", Definition: "fibonacci", SpecHash: made.SpecHash, Attempt: 1,
		Seed: made.Seed, Suspended: true,
	}
	if !reflect.DeepEqual(made, want) || made.UID == "" || made.Version == "" || made.SpecHash == "" {
		t.Errorf("the Job is %+v", made)
	}
	_, err := r.Cluster.Create(t.Context(), r.manifest(d, "a", "7"))
	r.wants("create it again", err, jobrunner.ErrExists)
	if other := r.create(d, "b", "7"); other.Name == made.Name || other.UID == made.UID {
		t.Errorf("two runs have the Jobs %+v and %+v", made, other)
	}
	if got := r.get(made.Name); got == nil || got.UID != made.UID || !got.Suspended || got.Seed == nil || got.Seed.ID != "a" {
		t.Errorf("it is read as %+v", got)
	}
	r.AwaitObject(t, made.UID, r.Timeout, func(o job.Object) bool { return o.Suspended && o.RunID == "a" })
	if got := r.get("no-such-job"); got != nil {
		t.Errorf("there is a Job that was never made: %+v", got)
	}
}

func runsNothingBefore(t *testing.T, r *running) {
	made := r.create(r.define("fibonacci"), "a", "7")
	r.AwaitObject(t, made.UID, r.Timeout, func(o job.Object) bool { return o.Suspended })
	<-time.After(short)
	for _, o := range append(r.History(made.UID), *r.get(made.Name)) {
		if o.Started() || len(o.Pods) > 0 || !o.Suspended || o.Counts != (job.Counts{}) {
			t.Errorf("it was not resumed, and is %+v", o)
		}
	}
}

func resumesOnce(t *testing.T, r *running) {
	made := r.atRest(r.create(r.define("fibonacci"), "a", "sleep=1h").Name)
	for what, key := range map[string][3]string{
		"another version": {made.Name, made.UID, "1"},
		"another UID":     {made.Name, "00000000-0000-0000-0000-000000000000", made.Version},
		"another name":    {"no-such-job", made.UID, made.Version},
	} {
		_, err := r.Cluster.Resume(t.Context(), key[0], key[1], key[2])
		r.wants(what, err, jobrunner.ErrChanged)
	}
	if got := r.get(made.Name); !got.Untouched() {
		t.Fatalf("it was resumed: %+v", got)
	}
	resumed := Resume(t, r.Cluster, made)
	if resumed.Suspended || !resumed.Resumed || resumed.UID != made.UID || resumed.Version == made.Version {
		t.Fatalf("it is resumed as %+v", resumed)
	}
	_, err := r.Cluster.Resume(t.Context(), made.Name, made.UID, made.Version)
	r.wants("resume it again", err, jobrunner.ErrChanged)
	r.runs(made.UID)
	if got := r.get(made.Name); got.End != "" || !got.Resumed || !got.Started() || len(got.Pods) != 1 || got.Pods[0].Phase != "Running" {
		t.Errorf("while it runs, it is read as %+v", got)
	}
}

func endsAsTheContainer(t *testing.T, r *running) {
	d := r.define("fibonacci")
	good, bad := r.start(d, "good", "7"), r.start(d, "bad", "7", "exit=3")
	r.hasEnded(good, outcome{job.Succeeded, "CompletionsReached", 0})
	r.hasEnded(bad, outcome{job.Failed, "BackoffLimitExceeded", 3})
}

// outcome is how a Job with one pod has ended.
type outcome struct {
	end    job.Phase
	reason string
	code   int
}

func outcomeOf(o job.Object) outcome {
	got := outcome{o.End, o.EndReason, -1}
	if len(o.Pods) == 1 && len(o.Pods[0].Containers) == 1 && o.Pods[0].Containers[0].ExitCode != nil && o.Pods[0].Phase == string(o.End) {
		got.code = *o.Pods[0].Containers[0].ExitCode
	}
	return got
}

// hasEnded waits for the end of a Job, which must be as wanted to the observer as well as to who reads it.
func (r *running) hasEnded(made job.Object, want outcome) {
	r.t.Helper()
	seen := r.ended(made.UID)
	for what, o := range map[string]job.Object{"observed": seen, "read": *r.get(made.Name)} {
		if outcomeOf(o) != want || o.StartedAt.IsZero() || o.FinishedAt.Before(o.StartedAt) || o.Counts.Active != 0 || o.Counts.Succeeded+o.Counts.Failed != 1 {
			r.t.Errorf("its end is %s as %+v, want %+v", what, o, want)
		}
	}
}

func readsOutput(t *testing.T, r *running) {
	d := r.define("fibonacci")
	made := r.create(d, "a", "1", "2", "3")
	_, err := r.Cluster.Logs(t.Context(), "no-such-pod", "fibonacci", 0, false)
	r.wants("output of no pod", err, jobrunner.ErrNoOutput)
	Resume(t, r.Cluster, made)
	pod := r.ended(made.UID).Pods[0].Name
	for tail, want := range map[int][]string{0: {line(1), line(2), line(3)}, 2: {line(2), line(3)}, 9: {line(1), line(2), line(3)}} {
		if got := r.output(pod, "fibonacci", tail, false); !slices.Equal(got, want) {
			t.Errorf("the last %d lines are %q, want %q", tail, got, want)
		}
	}
	_, err = r.Cluster.Logs(t.Context(), pod, "no-such-container", 0, false)
	r.wants("output of no container", err, jobrunner.ErrNoOutput)
}

func followsOutput(t *testing.T, r *running) {
	made := r.start(r.define("fibonacci"), "a", "1", "2", "sleep=3s", "3")
	pod := r.runs(made.UID)
	if got, want := r.output(pod, "fibonacci", 0, true), []string{line(1), line(2), line(3)}; !slices.Equal(got, want) {
		t.Errorf("what was followed is %q, want %q", got, want)
	}
	if o := r.ended(made.UID); o.End != job.Succeeded {
		t.Errorf("it has ended as %+v", o)
	}
}

func deletesThatOne(t *testing.T, r *running) {
	made := r.create(r.define("fibonacci"), "a", "7")
	remove := func(name, uid string) {
		t.Helper()
		if err := r.Cluster.Delete(t.Context(), name, uid, ""); err != nil {
			t.Errorf("delete %s with UID %s: %v", name, uid, err)
		}
	}
	remove(made.Name, "00000000-0000-0000-0000-000000000000")
	remove("no-such-job", made.UID)
	if got := r.get(made.Name); got == nil || got.Deleting {
		t.Fatalf("it was deleted: %+v", got)
	}
	r.AwaitObject(t, made.UID, r.Timeout, func(job.Object) bool { return true })
	remove(made.Name, made.UID)
	r.AwaitGone(t, made.UID, r.Timeout)
	if got := r.get(made.Name); got != nil {
		t.Errorf("it is still there: %+v", got)
	}
	remove(made.Name, made.UID)
}

func deletesThatVersion(t *testing.T, r *running) {
	d := r.define("fibonacci")
	seen := r.atRest(r.create(d, "a", "sleep=1h").Name)
	Resume(t, r.Cluster, seen)
	r.wants("delete one that was resumed since", r.Cluster.Delete(t.Context(), seen.Name, seen.UID, seen.Version), jobrunner.ErrChanged)
	if err := r.Cluster.Delete(t.Context(), "no-such-job", seen.UID, seen.Version); err != nil {
		t.Errorf("delete one that is gone: %v", err)
	}
	r.runs(seen.UID)
	if got := r.get(seen.Name); got == nil || got.Deleting {
		t.Fatalf("it was deleted: %+v", got)
	}
	same := r.atRest(r.create(d, "b", "7").Name)
	if err := r.Cluster.Delete(t.Context(), same.Name, same.UID, same.Version); err != nil {
		t.Errorf("delete one that has not changed: %v", err)
	}
	r.AwaitGone(t, same.UID, r.Timeout)
}

func deletesPods(t *testing.T, r *running) {
	made := r.start(r.define("fibonacci"), "a", "1", "sleep=1h")
	pod := r.runs(made.UID)
	if err := r.Cluster.Delete(t.Context(), made.Name, made.UID, ""); err != nil {
		t.Fatal(err)
	}
	r.AwaitGone(t, made.UID, r.Timeout)
	if _, err := r.Cluster.Logs(t.Context(), pod, "fibonacci", 0, false); err == nil {
		t.Error("the pod is still there")
	}
}

func letsGo(t *testing.T, r *running) {
	d := r.define("fibonacci")
	made := r.start(d, "a", "7")
	r.ended(made.UID)
	arm := func(name, uid string) {
		t.Helper()
		if err := r.Cluster.Arm(t.Context(), name, uid, 0); err != nil {
			t.Errorf("give %s with UID %s its TTL: %v", name, uid, err)
		}
	}
	arm(made.Name, "00000000-0000-0000-0000-000000000000")
	arm("no-such-job", made.UID)
	if got := r.get(made.Name); got == nil || got.TTL != nil {
		t.Fatalf("it has a TTL: %+v", got)
	}
	arm(made.Name, made.UID)
	r.AwaitGone(t, made.UID, r.Timeout)
	arm(made.Name, made.UID)
	long := r.start(d, "long", "7")
	r.ended(long.UID)
	if err := r.Cluster.Arm(t.Context(), long.Name, long.UID, 3600); err != nil {
		t.Fatal(err)
	}
	r.AwaitObject(t, long.UID, r.Timeout, func(o job.Object) bool { return o.TTL != nil && *o.TTL == 3600 })
}

// invalid are manifests that no cluster can run.
func (r *running) invalid(d job.Definition) map[string]json.RawMessage {
	good := string(r.manifest(d, "bad", "7"))
	return map[string]json.RawMessage{
		"no JSON":       json.RawMessage(`{"kind":"Job"`),
		"another kind":  json.RawMessage(strings.Replace(good, `"kind":"Job"`, `"kind":"Pod"`, 1)),
		"no containers": json.RawMessage(strings.Replace(good, `"containers":[`, `"containers":[],"unknownContainers":[`, 1)),
	}
}

func refusesInvalid(t *testing.T, r *running) {
	for what, manifest := range r.invalid(r.define("fibonacci")) {
		_, err := r.Cluster.Create(t.Context(), manifest)
		r.wants(what, err, jobrunner.ErrInvalid)
	}
	<-time.After(short)
	r.Await(t, "nothing was made", r.Timeout, func(k Known) bool { return len(k.Objects) == 0 })
}

func checks(t *testing.T, r *running) {
	d := r.define("fibonacci")
	for what, manifest := range r.invalid(d) {
		r.wants(what, r.Cluster.Check(t.Context(), manifest), jobrunner.ErrInvalid)
	}
	for _, id := range []string{"a", "b"} {
		if err := r.Cluster.Check(t.Context(), r.manifest(d, id, "7")); err != nil {
			t.Error(err)
		}
		if id == "a" {
			r.create(d, "b", "7") // the next one is checked although it is there
		}
	}
	<-time.After(short)
	r.Await(t, "one was made", r.Timeout, func(k Known) bool { return len(k.Objects) == 1 })
}

func reportsWorkloads(t *testing.T, r *running) {
	if r.Ready == "" {
		t.Skip("there are none here")
	}
	r.Await(t, "the workload is ready", r.Timeout, func(k Known) bool { return k.Workloads[r.Ready] > 0 })
	r.Await(t, "no other workload is known by a name that nobody has", r.Timeout, func(k Known) bool { _, known := k.Workloads["no-such-workload"]; return !known })
}

func tellsAllFirst(t *testing.T, r *running) {
	d := r.define("fibonacci")
	made := r.start(d, "a", "7")
	r.ended(made.UID)
	r.AwaitSynced(t, r.Timeout)
	r.stop()
	again, _ := Watch(t, r.Cluster)
	again.AwaitSynced(t, r.Timeout)
	if k := again.atSync(); k.Definitions["fibonacci"].Generation != d.Generation || k.Objects[made.UID].End != job.Succeeded || len(k.Objects[made.UID].Pods) != 1 {
		t.Errorf("before Synced it was told %+v", k)
	}
}

func isSilentAfterwards(t *testing.T, r *running) {
	made := r.create(r.define("fibonacci"), "a", "7")
	r.AwaitObject(t, made.UID, r.Timeout, func(o job.Object) bool { return o.Suspended })
	r.stop()
	next := r.next()
	_, _ = r.Cluster.Resume(t.Context(), made.Name, made.UID, made.Version) // whether it is refused is the cluster's own affair
	select {
	case <-next:
		t.Error("something was observed after Watch had returned")
	case <-time.After(short):
	}
}

func takesConcurrentRequests(t *testing.T, r *running) {
	d := r.define("fibonacci")
	var makers sync.WaitGroup
	const runs, each = 5, 3
	outcomes := make(chan error, runs*each)
	for i := range runs * each {
		manifest := r.manifest(d, fmt.Sprint("run-", i%runs), "7")
		makers.Go(func() {
			_, err := r.Cluster.Create(t.Context(), manifest)
			outcomes <- err
		})
	}
	makers.Wait()
	close(outcomes)
	made := 0
	for err := range outcomes {
		if err == nil {
			made++
		} else {
			r.wants("a name that is taken", err, jobrunner.ErrExists)
		}
	}
	r.Await(t, "there is one Job for each run", r.Timeout, func(k Known) bool { return len(k.Objects) == runs })
	if made != runs {
		t.Errorf("%d Jobs were made for %d runs", made, runs)
	}
}
