package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// seenJobs is an observer that remembers.
type seenJobs struct {
	mu          sync.Mutex
	definitions map[string]job.Definition // guarded by mu, as all of these
	objects     map[string]job.Object     // by name
	forgotten   []string                  // UIDs
	workloads   map[string]int
	phases      map[string][]string // of each Job's pods, without repetition
	synced      bool
}

func newSeenJobs() *seenJobs {
	return &seenJobs{definitions: map[string]job.Definition{}, objects: map[string]job.Object{}, workloads: map[string]int{}, phases: map[string][]string{}}
}

func (s *seenJobs) with(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

func (s *seenJobs) Define(d job.Definition)                      { s.with(func() { s.definitions[d.Name] = d }) }
func (s *seenJobs) Undefine(name string)                         { s.with(func() { delete(s.definitions, name) }) }
func (s *seenJobs) LastDefinition(string) (job.Definition, bool) { return job.Definition{}, false }
func (s *seenJobs) Workload(name string, ready int, _ bool) {
	s.with(func() { s.workloads[name] = ready })
}
func (s *seenJobs) WorkloadGone(name string) { s.with(func() { delete(s.workloads, name) }) }
func (s *seenJobs) Synced()                  { s.with(func() { s.synced = true }) }
func (s *seenJobs) Observe(o job.Object)     { s.with(func() { s.objects[o.Name] = o }) }
func (s *seenJobs) Forget(name, uid string) {
	s.with(func() {
		if s.objects[name].UID == uid {
			delete(s.objects, name)
		}
		s.forgotten = append(s.forgotten, uid)
	})
}

// jobRun is a cluster of jobs that is watched.
type jobRun struct {
	*seenJobs
	t       testing.TB
	cluster *JobCluster
	logs    *logs
	dataDir string
	stop    func()
}

// testBackoff is short, so that tests see many attempts.
const testBackoff = 20 * time.Millisecond

func runJobCluster(t testing.TB, dataDir string, definitions ...job.Definition) *jobRun {
	t.Helper()
	logged := &logs{}
	logger := zerolog.New(logged)
	processes, err := openProcesses(ClusterConfig{DataDir: dataDir}, logger)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := OpenJobs(JobConfig{
		DataDir: dataDir, Namespace: "default", Definitions: definitions, Env: []string{"SLUICE_URL=http://127.0.0.1:5002"},
		Logger: logger, Backoff: testBackoff, processes: processes,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &jobRun{seenJobs: newSeenJobs(), t: t, cluster: cluster, logs: logged, dataDir: dataDir}
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan error, 1)
	go func() { watched <- cluster.Watch(ctx, r.seenJobs) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-watched; err != nil {
				t.Error(err)
			}
			processes.close()
			if err := cluster.Close(); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("the log:\n%s", logged)
			}
		})
	}
	t.Cleanup(r.stop)
	eventually(t, "the cluster of jobs is synced", func() (synced bool) { r.with(func() { synced = r.synced }); return synced })
	return r
}

// testJob is the manifest of a Job whose process does what the arguments say.
func testJob(t testing.TB, name, spec string, does ...string) json.RawMessage {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if spec == "" {
		spec = `"backoffLimit":0`
	}
	words, err := json.Marshal(does)
	if err != nil {
		t.Fatal(err)
	}
	policy := "Never"
	if strings.Contains(spec, "OnFailure") {
		policy, spec = "OnFailure", strings.TrimPrefix(spec, "OnFailure,")
	}
	return json.RawMessage(fmt.Sprintf(`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":%[1]q,
		"labels":{"app.kubernetes.io/managed-by":"sluice","sluice/definition":"d","sluice/run-id":"run-%[1]s","sluice/attempt":"1"},
		"annotations":{"sluice/LocalFolder":%[6]q}},
		"spec":{%[2]s,"suspend":true,"template":{"spec":{"restartPolicy":%[3]q,"terminationGracePeriodSeconds":5,
		"containers":[{"name":"main","image":"x","command":[%[4]q],"args":%[5]s,"env":[{"name":%[7]q,"value":"job"}]}]}}}}`,
		name, spec, policy, self, words, t.TempDir(), testMode))
}

// create creates a Job, and lets it run.
func (r *jobRun) create(manifest json.RawMessage) job.Object {
	r.t.Helper()
	created, err := r.cluster.Create(r.t.Context(), manifest)
	if err != nil {
		r.t.Fatal(err)
	}
	if !created.Suspended || created.UID == "" || created.Started() {
		r.t.Errorf("created is %+v", created)
	}
	if _, err := r.cluster.Resume(r.t.Context(), created.Name, created.UID, created.Version); err != nil {
		r.t.Fatal(err)
	}
	return *created
}

// until waits until the Job is observed as wanted.
func (r *jobRun) until(name, what string, wanted func(job.Object) bool) (o job.Object) {
	r.t.Helper()
	eventually(r.t, name+" "+what, func() (is bool) {
		r.with(func() {
			var there bool
			o, there = r.objects[name]
			is = there && wanted(o)
		})
		return is
	})
	return o
}

func (r *jobRun) ended(name string) job.Object {
	r.t.Helper()
	return r.until(name, "has ended", func(o job.Object) bool { return o.End != "" })
}

func (r *jobRun) gone(name string) {
	r.t.Helper()
	eventually(r.t, name+" is gone", func() (gone bool) {
		r.with(func() { _, there := r.objects[name]; gone = !there })
		return gone
	})
}

// output reads what is kept of a pod.
func (r *jobRun) output(pod string, tail int, follow bool) string {
	r.t.Helper()
	log, err := r.cluster.Logs(r.t.Context(), pod, "", tail, follow)
	if err != nil {
		if errors.Is(err, jobrunner.ErrNoOutput) {
			return ""
		}
		r.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	text, err := io.ReadAll(log)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// lines are those of a ledger, which is written in whole lines.
func lines(path string) []string {
	text, _ := os.ReadFile(path) // without one there is no line
	ends := strings.SplitAfter(string(text), "\n")
	return ends[:len(ends)-1]
}
