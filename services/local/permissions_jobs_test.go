package local

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// batch are jobs that a person and other services ask for.
type batch struct {
	t *testing.T
	// gate is a file: a run of the job held ends when it is there.
	gate string
}

// definition is one of a job whose process is a shell's.
func (b *batch) definition(name, script string, dependsOn ...string) job.Definition {
	b.t.Helper()
	words, err := json.Marshal([]string{"/bin/sh", "-c", script})
	if err != nil {
		b.t.Fatal(err)
	}
	d, isJob := job.FromCronJob(job.CronJob{
		Name: name, Suspended: true,
		Annotations: map[string]string{"sluice/Job": "true", "sluice/DefaultVisibility": "Public", "sluice/DependsOn": strings.Join(dependsOn, ",")},
		Template:    fmt.Appendf(nil, `{"spec":{"backoffLimit":0,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"main","image":"x","command":%s}]}}}}`, words),
	}, nil)
	if !isJob {
		b.t.Fatalf("%s is no job: %q", name, d.Problems)
	}
	return d
}

// startJobrunner runs it over processes.
func startJobrunner(t *testing.T, login *bus.Bus) *batch {
	t.Helper()
	b := &batch{t, filepath.Join(t.TempDir(), "gate")}
	folder := t.TempDir()
	processes, err := openProcesses(ClusterConfig{DataDir: folder}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := OpenJobs(JobConfig{
		DataDir: folder, Namespace: "default", Logger: zerolog.Nop(), Backoff: testBackoff, processes: processes,
		Definitions: []job.Definition{
			b.definition("held", fmt.Sprintf("echo begun; while [ ! -e %s ]; do sleep 0.05; done; echo ended", b.gate)),
			b.definition("dependent", "true", "gone"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the runner has ended
		processes.close()
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	r := jobrunner.New(jobrunner.Config{MaxRunning: 10, CreateRate: 100, History: 2 * time.Hour, HistoryLimit: 1000}, jobrunner.Deps{
		Bus: login, Cluster: cluster, Logger: zerolog.Nop(), Registry: prometheus.NewRegistry(), Name: "jobrunner-1",
	})
	start(t, login, func(take, _ context.Context) error { // as the program for a cluster does
		var guard sync.WaitGroup
		defer guard.Wait()
		guard.Go(func() { _ = login.GuardJobs(take) })
		return r.Run(take)
	})
	select {
	case <-r.Synced():
	case <-time.After(patience):
		t.Fatal("the jobrunner has not shared the definitions")
	}
	return b
}

// leaveJobsBehind stores what an earlier jobrunner has left: as many records and definitions as make the server ask for flow control, runs that are old enough to be removed with their
// output, and one whose request was lost.
func leaveJobsBehind(t *testing.T, g *guarded, refused *refusals) {
	t.Helper()
	const large, count = 200 << 10, 30
	runner := g.login("jobrunner", refused)
	defer runner.Close()
	if err := runner.EnsureJobs(t.Context()); err != nil {
		t.Fatal(err)
	}
	definitions, err := runner.OpenDefinitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runs, err := runner.OpenRuns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, long := strings.Repeat("x", large), time.Now().Add(-3*time.Hour)
	for i := range count {
		name := "old-" + strconv.Itoa(i)
		if _, err := definitions.Put(t.Context(), job.Definition{Name: name, Source: text}); err != nil {
			t.Fatal(err)
		}
		run := job.Run{ID: "r", Definition: name, Phase: job.Succeeded, Message: text, Closed: true, QueuedAt: long, FinishedAt: long, Log: []job.LogPart{{Object: name}}}
		if _, err := runs.Put(t.Context(), run, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := runner.PutLog(t.Context(), name, strings.NewReader("output"), large); err != nil {
			t.Fatal(err)
		}
	}
	// The output of this one is gone.
	silent := job.Run{ID: "silent", Definition: "held", Phase: job.Succeeded, Closed: true, QueuedAt: time.Now(), FinishedAt: time.Now(), Log: []job.LogPart{{Object: "nothing"}}}
	if _, err := runs.Put(t.Context(), silent, 0); err != nil {
		t.Fatal(err)
	}
	lost := job.Accept((&batch{t: t}).definition("dependent", "true", "gone"), job.Message{Definition: "dependent", RunID: "lost"}, long)
	if _, err := runs.Put(t.Context(), lost, 0); err != nil {
		t.Fatal(err)
	}
}

// jobs are runs that end in every way: by themselves, before they begin, and refused.
func (c person) jobs(b *batch, client outsider) {
	c.t.Helper()
	eventually(c.t, "the gateway knows the jobs", func() bool { return c.status("/job/held") == http.StatusOK })
	first, second := c.run("held"), c.run("held")
	eventually(c.t, "the first run runs", func() bool { return c.phase("held", first) == job.Running })
	for _, path := range []string{"/jobs", "/jobs/status", "/jobs/held/runs", "/job/held"} {
		c.ask(http.MethodGet, path, http.StatusOK)
	}
	eventually(c.t, "its output is served", func() bool { return c.status("/jobs/held/runs/"+first+"/logs") == http.StatusOK })
	c.ask(http.MethodDelete, "/job/held/"+second, http.StatusOK)
	eventually(c.t, "the second run is cancelled", func() bool { return c.phase("held", second) == job.Cancelled })
	client.publish("sluice.job.dependent", "")
	if _, err := client.js.Publish(c.t.Context(), "sluice.job.held", []byte("no JSON")); err != nil {
		c.t.Fatal(err)
	}
	c.ask(http.MethodGet, "/jobs/held/runs/silent/logs", http.StatusNotFound)

	if err := os.WriteFile(b.gate, nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.ask(http.MethodGet, "/jobs/held/runs/"+first+"/logs?follow=true", http.StatusOK)
	c.ask(http.MethodGet, "/jobs/held/runs/"+first+"?wait=30s", http.StatusOK)
	eventually(c.t, "the first run has succeeded", func() bool { return c.phase("held", first) == job.Succeeded })
	c.ask(http.MethodGet, "/jobs/held/runs/"+first+"/logs", http.StatusOK)
}

// run asks for one and returns its id.
func (c person) run(name string) (id string) {
	c.t.Helper()
	status, text := c.do(c.request(http.MethodPost, "/job/"+name, "{}", nil))
	var accepted struct{ ID string }
	if err := json.Unmarshal(text, &accepted); err != nil || status != http.StatusAccepted || accepted.ID == "" {
		c.t.Fatalf("a request for %s is answered with %d %s", name, status, text)
	}
	return accepted.ID
}

func (c person) phase(name, id string) job.Phase {
	c.t.Helper()
	_, text := c.do(c.request(http.MethodGet, "/jobs/"+name+"/runs/"+id, "", nil))
	var run job.Run
	_ = json.Unmarshal(text, &run) // what is no run has no phase
	return run.Phase
}
