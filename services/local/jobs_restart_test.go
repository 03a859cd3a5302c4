package local

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// A process that is ended with sluice local counts as failed, whatever it says, and is tried again if it may be.
func TestJobAcrossAShutdown(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{`"backoffLimit":1`, `OnFailure,"backoffLimit":1`, `"backoffLimit":0`} {
		dataDir, folder := t.TempDir(), t.TempDir()
		ledger := filepath.Join(folder, "ledger")
		r := runJobCluster(t, dataDir)
		created := r.create(testJob(t, "j", limit, "polite="+ledger))
		r.until("j", "runs", func(o job.Object) bool { return o.Started() && len(lines(ledger)) == 1 })
		r.stop()
		left, err := r.cluster.Get(t.Context(), "j")
		if err != nil || left.End != "" || left.Pods[0].Message != "it was ended with sluice local, and exited with code 0" && left.Pods[0].Phase == "Failed" {
			t.Errorf("%s: at the end of the first run: %+v, %v", limit, left, err)
		}
		again := runJobCluster(t, dataDir)
		if limit == `"backoffLimit":0` {
			if done := again.ended("j"); done.EndReason != "BackoffLimitExceeded" || len(lines(ledger)) != 1 || done.UID != created.UID {
				t.Errorf("%s: %+v", limit, done)
			}
			continue
		}
		again.until("j", "runs again", func(o job.Object) bool { return o.Counts.Ready == 1 && len(lines(ledger)) == 2 })
	}
}

// What waits goes on waiting: a suspended Job, one that has ended, one that is to be removed, one that is being deleted.
func TestJobsAcrossARestart(t *testing.T) {
	t.Parallel()
	dataDir := t.TempDir()
	r := runJobCluster(t, dataDir)
	suspended, err := r.cluster.Create(t.Context(), testJob(t, "suspended", ""))
	if err != nil {
		t.Fatal(err)
	}
	r.create(testJob(t, "kept", "", "print=kept"))
	armed := r.create(testJob(t, "armed", ""))
	deleted := r.create(testJob(t, "deleted", "", "sleep=1h"))
	before := r.ended("kept")
	r.ended("armed")
	if err := r.cluster.Arm(t.Context(), "armed", armed.UID, 2); err != nil {
		t.Fatal(err)
	}
	r.until("deleted", "runs", func(o job.Object) bool { return o.Started() })
	r.cluster.Terminate()
	if err := r.cluster.Delete(t.Context(), "deleted", deleted.UID, ""); err != nil {
		t.Fatal(err)
	}
	r.stop()

	again := runJobCluster(t, dataDir)
	again.gone("deleted")
	again.gone("armed")
	if after := again.ended("kept"); after.UID != before.UID || !after.FinishedAt.Equal(before.FinishedAt) || again.output(after.Pods[0].Name, 0, false) != "kept\n" {
		t.Errorf("%+v, before %+v", after, before)
	}
	if _, err := again.cluster.Resume(t.Context(), "suspended", suspended.UID, suspended.Version); err != nil {
		t.Error(err)
	}
	again.ended("suspended")
}

// Nothing is started once everything ends, and what cannot end is killed at last.
func TestTerminateAndKill(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	patient := bytes.Replace(testJob(t, "deaf", "", "stubborn", "print=x", "sleep=1h"), []byte(`"terminationGracePeriodSeconds":5`), []byte(`"terminationGracePeriodSeconds":60`), 1)
	r.create(patient)
	r.until("deaf", "runs", func(o job.Object) bool { return o.Started() && r.output(o.Pods[0].Name, 0, false) != "" })
	waiting, err := r.cluster.Create(t.Context(), testJob(t, "waiting", ""))
	if err != nil {
		t.Fatal(err)
	}
	r.cluster.Terminate()
	if _, err := r.cluster.Resume(t.Context(), "waiting", waiting.UID, waiting.Version); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	r.cluster.Kill()
	r.until("deaf", "is killed", func(o job.Object) bool { return o.Counts.Ready == 0 && o.Counts.Failed == 1 })
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it was killed after %s", took)
	}
	r.stop()
	if left, err := r.cluster.Get(t.Context(), "waiting"); err != nil || len(left.Pods) > 0 || left.Suspended {
		t.Errorf("%+v, %v", left, err)
	}
}

// While records cannot be written nothing is started and nothing is lost; then all goes on.
func TestRecordsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	r := runJobCluster(t, t.TempDir())
	folder := t.TempDir()
	ledger, release := filepath.Join(folder, "ledger"), filepath.Join(folder, "release")
	created := r.create(testJob(t, "j", `"backoffLimit":1`, "ledger="+ledger, "await="+release))
	waiting, err := r.cluster.Create(t.Context(), testJob(t, "waiting", "", "ledger="+ledger))
	if err != nil {
		t.Fatal(err)
	}
	r.until("j", "runs", func(o job.Object) bool { return o.Counts.Ready == 1 && len(lines(ledger)) == 1 })
	jobs := filepath.Join(r.dataDir, jobsFolder)
	for _, name := range []string{"j", "waiting", "new"} { // in the way of what is to be written
		if err := os.Mkdir(filepath.Join(jobs, name+nextSuffix), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.cluster.Create(t.Context(), testJob(t, "new", "")); err == nil {
		t.Error("a Job was created that is not on disk")
	}
	if _, err := r.cluster.Resume(t.Context(), "waiting", waiting.UID, waiting.Version); err == nil {
		t.Error("a Job was resumed, which is not on disk")
	}
	if err := r.cluster.Arm(t.Context(), "j", created.UID, 1); err == nil {
		t.Error("a Job has a TTL that is not on disk")
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", func() bool { return strings.Contains(r.logs.String(), "A job waits for its record to be written") })
	if o, err := r.cluster.Get(t.Context(), "j"); err != nil || o.End != "" || o.TTL != nil {
		t.Errorf("%+v, %v", o, err)
	}
	for _, name := range []string{"j", "waiting", "new"} {
		if err := os.Remove(filepath.Join(jobs, name+nextSuffix)); err != nil {
			t.Fatal(err)
		}
	}
	if done := r.ended("j"); done.End != job.Succeeded || len(lines(ledger)) != 1 {
		t.Errorf("%+v, %v", done, lines(ledger))
	}
	if _, err := r.cluster.Resume(t.Context(), "waiting", waiting.UID, waiting.Version); err != nil {
		t.Fatal(err)
	}
	r.ended("waiting")
}
