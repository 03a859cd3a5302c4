package jobrunner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// apiServer is a cluster in memory that promises what Kubernetes' API server does: UIDs, versions and conflicts, names that are taken, Jobs that are suspended, deletions that
// take until the pods have ended. A test can let any request fail, before or after it has had its effect, and plays the Job controller itself (see controller_test.go).
type apiServer struct {
	t testing.TB

	mu          sync.Mutex
	version     int                         // guarded by mu, as is all below
	births      int                         // of Jobs and pods
	jobs        map[string]*object          // by name
	definitions map[string]job.Definition   // CronJobs
	workloads   map[string]bool             // whether they are ready
	watchers    map[*watcher]struct{}       //
	quota       int                         // of Jobs, 0 for none
	script      func(request) error         // decides about a request before it has its effect
	fate        func(request) error         // decides about its answer
	calls       map[string]int              // by verb, and by verb and done for those that have had their effect
	outputs     map[outputKey]*outputScript // of containers
	complaints  []string                    // in their order
	started     map[string][]string         // by run and attempt: the UIDs of Jobs whose pods were started
	plan        func(job.Object) plan       // what pods of a Job do
	holdPods    bool                        // pods that are to end do so when the test says so
	timers      sync.WaitGroup
}

// request is one request to the API server.
type request struct{ verb, name string }

// object is a Job with what only the server knows.
type object struct {
	job.Object
	parallelism int
	restart     string
}

func newAPIServer(t testing.TB) *apiServer {
	s := &apiServer{
		t: t, jobs: map[string]*object{}, definitions: map[string]job.Definition{}, workloads: map[string]bool{}, watchers: map[*watcher]struct{}{},
		calls: map[string]int{}, outputs: map[outputKey]*outputScript{}, started: map[string][]string{},
	}
	t.Cleanup(s.timers.Wait)
	return s
}

// watcher is one Watch. What it is told waits in its queue, so that nobody waits for it.
type watcher struct {
	queue []func(Observer) // guarded by apiServer.mu
	wake  chan struct{}
}

func (s *apiServer) tellLocked(event func(Observer)) {
	for w := range s.watchers {
		w.queue = append(w.queue, event)
		signal(w.wake)
	}
}

// Watch implements Cluster.
func (s *apiServer) Watch(ctx context.Context, observer Observer) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	for _, d := range s.definitions {
		w.queue = append(w.queue, func(o Observer) { o.Define(d) })
	}
	for name, ready := range s.workloads {
		w.queue = append(w.queue, func(o Observer) { o.Workload(name, readyCount(ready), true) })
	}
	for _, o := range s.jobs {
		seen := o.seen()
		w.queue = append(w.queue, func(o Observer) { o.Observe(seen) })
	}
	w.queue = append(w.queue, func(o Observer) { o.Synced() })
	s.watchers[w] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, w)
	}()
	for {
		s.mu.Lock()
		events := w.queue
		w.queue = nil
		s.mu.Unlock()
		for _, event := range events {
			event(observer)
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func readyCount(ready bool) int {
	if ready {
		return 1
	}
	return 0
}

// seen is a copy that nobody changes.
func (o *object) seen() job.Object {
	seen := o.Object
	seen.Pods = slices.Clone(o.Pods)
	for i := range seen.Pods {
		seen.Pods[i].Containers = slices.Clone(seen.Pods[i].Containers)
	}
	return seen
}

var errServer = errors.New("the API server has no time")

// done follows the verb of a request that has had its effect.
const done = " done"

// serve does a request, unless the script has another fate for it.
func (s *apiServer) serve(ctx context.Context, verb, name string, do func() error) error {
	r := request{verb, name}
	s.mu.Lock()
	s.calls[verb]++
	script, fate := s.script, s.fate
	s.mu.Unlock()
	if script != nil {
		if err := script(r); err != nil {
			return fmt.Errorf("%s %s: %w", verb, name, err)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	err := do()
	s.calls[verb+done]++
	s.mu.Unlock()
	if fate != nil && err == nil {
		err = fate(r)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return nil
}

// changedLocked gives the Job a new version and tells everybody.
func (s *apiServer) changedLocked(o *object) {
	s.version++
	o.Version = strconv.Itoa(s.version)
	seen := o.seen()
	s.tellLocked(func(observer Observer) { observer.Observe(seen) })
}

// Get implements Cluster.
func (s *apiServer) Get(ctx context.Context, name string) (found *job.Object, err error) {
	err = s.serve(ctx, "get", name, func() error {
		if o := s.jobs[name]; o != nil {
			seen := o.seen()
			found = &seen
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// manifestFields are those of a Job that the server looks at.
type manifestFields struct {
	Metadata struct {
		Name                string
		Labels, Annotations map[string]string
	}
	Spec struct {
		Suspend                 bool
		Parallelism             *int
		TTLSecondsAfterFinished *int `json:"ttlSecondsAfterFinished"`
		Template                struct {
			Spec struct {
				RestartPolicy string
				Containers    []struct{ Name, Image string }
			}
		}
	}
}

func (s *apiServer) parse(manifest json.RawMessage) (*object, error) {
	var m manifestFields
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !m.Spec.Suspend || m.Spec.TTLSecondsAfterFinished != nil {
		s.t.Errorf("a Job is created that is not suspended, or has a TTL: %s", manifest)
	}
	o := &object{parallelism: 1, restart: m.Spec.Template.Spec.RestartPolicy}
	o.Name, o.Suspended = m.Metadata.Name, true
	o.Recognise(m.Metadata.Labels, m.Metadata.Annotations)
	if m.Spec.Parallelism != nil {
		o.parallelism = *m.Spec.Parallelism
	}
	for _, c := range m.Spec.Template.Spec.Containers {
		if strings.Contains(c.Image, "refused") {
			return nil, fmt.Errorf("%w: spec.template.spec.containers[0].image: Invalid value: %q", ErrInvalid, c.Image)
		}
	}
	return o, nil
}

// Create implements Cluster.
func (s *apiServer) Create(ctx context.Context, manifest json.RawMessage) (created *job.Object, err error) {
	o, err := s.parse(manifest)
	name := ""
	if o != nil {
		name = o.Name
	}
	err = s.serve(ctx, "create", name, func() error {
		switch {
		case err != nil:
			return err
		case s.quota > 0 && len(s.jobs) >= s.quota: // before the name is looked at, as Kubernetes does
			return fmt.Errorf("%w: exceeded quota: jobs, requested: count/jobs.batch=1", ErrQuota)
		case s.jobs[o.Name] != nil:
			return ErrExists
		}
		s.births++
		o.UID = fmt.Sprintf("uid-%d", s.births)
		s.jobs[o.Name] = o
		s.changedLocked(o)
		seen := o.seen()
		created = &seen
		return nil
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

// Check implements Cluster.
func (s *apiServer) Check(ctx context.Context, manifest json.RawMessage) error {
	o, err := s.parse(manifest)
	name := ""
	if o != nil {
		name = o.Definition
	}
	return s.serve(ctx, "check", name, func() error { return err })
}

// Complain implements Cluster.
func (s *apiServer) Complain(d job.Definition, sentence string) {
	s.set(func() { s.complaints = append(s.complaints, d.Name+" "+d.Generation+": "+sentence) })
}

// Resume implements Cluster.
func (s *apiServer) Resume(ctx context.Context, name, uid, version string) (resumed *job.Object, err error) {
	err = s.serve(ctx, "resume", name, func() error {
		o := s.jobs[name]
		switch {
		case o == nil:
			return errors.New("not found")
		case o.UID != uid || o.Version != version:
			return ErrChanged
		}
		o.Suspended, o.Resumed = false, true
		s.changedLocked(o)
		s.startLocked(o)
		seen := o.seen()
		resumed = &seen
		return nil
	})
	if err != nil {
		return nil, err
	}
	return resumed, nil
}

// Arm implements Cluster.
func (s *apiServer) Arm(ctx context.Context, name, uid string, ttl int32) error {
	return s.serve(ctx, "arm", name, func() error {
		o := s.jobs[name]
		if o == nil || o.UID != uid {
			return nil
		}
		if o.End == "" {
			s.t.Errorf("the Job %s gets its TTL before it has ended", name)
		}
		o.TTL = &ttl
		s.changedLocked(o)
		if ttl == 0 {
			s.goneLocked(o)
		}
		return nil
	})
}

// Delete implements Cluster.
func (s *apiServer) Delete(ctx context.Context, name, uid, version string) error {
	return s.serve(ctx, "delete", name, func() error {
		if o := s.jobs[name]; o != nil && version != "" && o.Version != version {
			return ErrChanged
		}
		if o := s.jobs[name]; o != nil && o.UID == uid && !o.Deleting {
			s.deleteLocked(o)
		}
		return nil
	})
}

// Namespace implements Cluster.
func (s *apiServer) Namespace() string { return "default" }

// outputScript is what a container writes.
type outputScript struct {
	text string
	// gone says that its pod is, and ended is closed when it writes no more.
	gone  bool
	ended chan struct{}
}

// Logs implements Cluster.
func (s *apiServer) Logs(ctx context.Context, pod, container string, tailLines int, follow bool) (io.ReadCloser, error) { //nolint:revive // as Cluster has it
	var o *outputScript
	err := s.serve(ctx, "logs", pod, func() error {
		if o = s.outputs[outputKey{pod, container}]; o == nil || o.gone {
			return ErrNoOutput
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	lines := strings.SplitAfter(o.text, "\n")
	if tailLines > 0 && len(lines) > tailLines+1 {
		lines = lines[len(lines)-tailLines-1:]
	}
	text := strings.Join(lines, "")
	if !follow {
		return io.NopCloser(strings.NewReader(text)), nil
	}
	return &followed{Reader: strings.NewReader(text), ctx: ctx, ended: o.ended, closed: make(chan struct{})}, nil
}

// followed is an output that ends with its container, or when it is closed.
type followed struct {
	io.Reader
	ctx    context.Context
	ended  <-chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (f *followed) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	select {
	case <-f.ended:
		return n, io.EOF
	case <-f.closed:
		return n, errors.New("closed")
	case <-f.ctx.Done():
		return n, f.ctx.Err()
	case <-time.After(time.Minute):
		return n, errors.New("nobody ends it")
	}
}

func (f *followed) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}
