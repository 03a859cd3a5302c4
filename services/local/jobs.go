package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// JobConfig is what OpenJobs needs.
type JobConfig struct {
	// DataDir is a folder that exists and that no other cluster uses.
	DataDir string
	// Namespace is only a name here.
	Namespace string
	// Definitions are those of the manifests at the start.
	Definitions []job.Definition
	// Env has KEY=value entries for every process, such as SLUICE_URL. They win over a Job's own.
	Env []string
	// Logger gets what the processes write, the fields job and run with each line.
	Logger zerolog.Logger
	// Backoff is the delay before a process that has failed is started again the first time; Kubernetes' 10 s when it is 0.
	Backoff time.Duration

	processes *processes // starts them
	maxOutput int64      // of a pod, in bytes; 10 MiB when it is 0
}

// JobCluster runs Jobs as child processes, one after the failure of the other as Kubernetes would. It is the jobrunner's Cluster for the
// local mode.
type JobCluster struct {
	config  JobConfig
	logger  zerolog.Logger
	store   *jobStore
	lives   sync.WaitGroup // the goroutines of Jobs
	signal  chan struct{}  // holds one token while there is news
	killed  chan struct{}  // closed by Kill
	killing sync.Once
	// creating is held from the look whether a name is free until it is taken.
	creating sync.Mutex

	mu          sync.Mutex // never held while a Job's mutex is taken
	jobs        map[string]*localJob
	definitions map[string]job.Definition
	ready       map[string]int  // of each workload, by kind and name, its ready replicas
	news        map[news]bool   // guarded by mu, as all of these: what the observer is to be told
	running     context.Context //nolint:containedctx // processes are started until it ends; nil while Watch does not run
	terminate   context.CancelFunc
}

// news is something that has changed.
type news struct {
	of   newsOf
	name string
	uid  string // of a Job
}

type newsOf int

const (
	ofDefinition newsOf = iota
	ofWorkload
	ofJob
)

// localJob is one Job.
type localJob struct {
	spec  jobSpec
	poked chan struct{} // holds one token while its goroutine is to look again

	mu       sync.Mutex
	record   jobRecord             // guarded by mu
	outputs  map[string]*podOutput // guarded by mu: of the pods that are not over, by name
	attended bool                  // guarded by mu: it has a goroutine
	removed  bool                  // guarded by mu: it is gone, also from the disk
}

var _ jobrunner.Cluster = (*JobCluster)(nil)

// OpenJobs reads the Jobs of earlier runs. It starts nothing before Watch.
func OpenJobs(config JobConfig) (*JobCluster, error) {
	if config.Backoff <= 0 {
		config.Backoff = firstJobBackoff
	}
	if config.maxOutput <= 0 {
		config.maxOutput = maxOutput
	}
	store, err := openJobStore(config.DataDir)
	if err != nil {
		return nil, err
	}
	c := &JobCluster{
		config: config, logger: config.Logger, store: store, signal: make(chan struct{}, 1), killed: make(chan struct{}),
		jobs: map[string]*localJob{}, definitions: map[string]job.Definition{}, ready: map[string]int{}, news: map[news]bool{},
	}
	c.Define(config.Definitions)
	records, wrong, err := store.load()
	if err != nil {
		return nil, err
	}
	for _, err := range wrong {
		c.logger.Error().Err(err).Msg("A job's record cannot be read: its run will be shown as one whose Job has disappeared")
	}
	for _, record := range records {
		c.take(record)
	}
	return c, nil
}

// take adds a Job that an earlier run has left.
func (c *JobCluster) take(record jobRecord) {
	_, spec, err := readJob(record.Manifest)
	if err != nil && record.End == "" {
		record.finish(time.Now(), job.Failed, job.ReasonInvalidSpec, err.Error())
	}
	spec.read = time.Now()
	c.add(record, spec)
}

func (c *JobCluster) add(record jobRecord, spec jobSpec) *localJob {
	spec.backoff = c.config.Backoff
	j := &localJob{spec: spec, record: record, poked: make(chan struct{}, 1), outputs: map[string]*podOutput{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs[record.Name] = j
	c.tell(news{ofJob, record.Name, record.UID})
	return j
}

// Close gives back what OpenJobs took, after Watch has ended.
func (c *JobCluster) Close() error { return c.store.close() }

// Namespace implements jobrunner.Cluster.
func (c *JobCluster) Namespace() string { return c.config.Namespace }

// Get implements jobrunner.Cluster.
func (c *JobCluster) Get(_ context.Context, name string) (*job.Object, error) {
	if j := c.find(name); j != nil {
		return j.object(), nil
	}
	return nil, nil
}

func (c *JobCluster) find(name string) *localJob {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jobs[name]
}

// object is nil once the Job is gone.
func (j *localJob) object() *job.Object {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.removed {
		return nil
	}
	o := j.record.object(j.spec)
	return &o
}

// Check implements jobrunner.Cluster. It passes a Job without a program for this machine: its runs fail, and say why.
func (c *JobCluster) Check(_ context.Context, manifest json.RawMessage) error {
	_, _, err := readJob(manifest)
	return err
}

// Complain implements jobrunner.Cluster. The jobrunner's log says it, and nobody looks anywhere else here.
func (c *JobCluster) Complain(job.Definition, string) {}

// Create implements jobrunner.Cluster: the Job is on disk, suspended.
func (c *JobCluster) Create(_ context.Context, manifest json.RawMessage) (*job.Object, error) {
	name, spec, err := readJob(manifest)
	if err == nil {
		err = spec.runnable()
	}
	if err != nil {
		return nil, fmt.Errorf("create job %s: %w", name, err)
	}
	c.creating.Lock()
	defer c.creating.Unlock()
	if c.find(name) != nil {
		return nil, fmt.Errorf("create job %s: %w", name, jobrunner.ErrExists)
	}
	// The version is one that no earlier Job of that name had.
	record := jobRecord{Name: name, UID: strings.ToLower(rand.Text()), Version: time.Now().UnixNano(), Manifest: manifest, Suspended: true}
	if err := c.store.write(&record, survivesPower); err != nil {
		return nil, err
	}
	return c.add(record, spec).object(), nil
}

// Resume implements jobrunner.Cluster.
func (c *JobCluster) Resume(ctx context.Context, name, uid, version string) (*job.Object, error) {
	j := c.find(name)
	if j == nil {
		return nil, fmt.Errorf("resume job %s: it is gone: %w", name, jobrunner.ErrChanged)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.record; r.UID != uid || strconv.FormatInt(r.Version, 10) != version || r.Deleting || j.removed {
		return nil, fmt.Errorf("resume job %s: %w", name, jobrunner.ErrChanged)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("resume job %s: %w", name, err)
	}
	if j.record.Suspended {
		err := c.change(j, survivesKill, func(r *jobRecord) { r.Suspended, r.ResumedAt = false, time.Now() })
		if err != nil {
			return nil, err
		}
	}
	o := j.record.object(j.spec)
	return &o, nil
}

// Arm implements jobrunner.Cluster.
func (c *JobCluster) Arm(_ context.Context, name, uid string, ttl int32) error {
	return c.changeSame(name, uid, "", func(r *jobRecord) { r.TTL = &ttl })
}

// Delete implements jobrunner.Cluster.
func (c *JobCluster) Delete(_ context.Context, name, uid, version string) error {
	return c.changeSame(name, uid, version, func(r *jobRecord) { r.Deleting = true })
}

// changeSame changes the Job with that UID, if it is there, and if it is of that version, empty for any.
func (c *JobCluster) changeSame(name, uid, version string, edit func(*jobRecord)) error {
	j := c.find(name)
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.record.UID != uid || j.removed {
		return nil
	}
	if version != "" && strconv.FormatInt(j.record.Version, 10) != version {
		return fmt.Errorf("change job %s: %w", name, jobrunner.ErrChanged)
	}
	return c.change(j, survivesPower, edit)
}

// Logs implements jobrunner.Cluster.
func (c *JobCluster) Logs(ctx context.Context, pod, container string, tail int, follow bool) (io.ReadCloser, error) { //nolint:revive // the contract has five arguments
	none := fmt.Errorf("container %q of pod %q: %w", container, shorten(pod), jobrunner.ErrNoOutput)
	owner := pod[:max(strings.LastIndexByte(pod, '-'), 0)]
	j := c.find(owner)
	if j == nil || !validPod(pod) {
		return nil, none
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.removed || j.record.pod(pod) == nil || container != "" && container != j.spec.container {
		return nil, none
	}
	return openPodLog(ctx, c.outputOf(j, pod), tail, follow)
}

// change stores the record as edit makes it, and has its goroutine look at it. After an error it is as it was. It is called with the Job's
// mutex held.
func (c *JobCluster) change(j *localJob, d durability, edit func(*jobRecord)) error {
	next := j.record.clone()
	edit(&next)
	next.Version++
	dropped := next.prune()
	if err := c.store.write(&next, d); err != nil {
		return err
	}
	j.record = next
	for _, pod := range dropped {
		c.store.removePod(pod)
	}
	j.endOutputs()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(news{ofJob, next.Name, next.UID})
	c.attend(j)
	return nil
}

// tell notes news. It is called with mu held.
func (c *JobCluster) tell(n news) {
	c.news[n] = true
	select {
	case c.signal <- struct{}{}:
	default: // a token is there already
	}
}
