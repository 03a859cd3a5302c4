package kube

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/pkg/kube"
)

// The kinds of objects that are watched.
const (
	ofCronJobs = iota
	ofJobs
	ofPods
	ofDeployments
	ofStatefulSets
	ofEvents
	kindsWatched
)

// view is what the API server has reported of the namespace, reduced to what runs need. What is followed writes it, and Watch reads it.
type view struct {
	logger zerolog.Logger
	// complaints gets what is newly wrong with annotations.
	complaints kube.Complaints
	// earlier is a definition as an earlier leader has shared it; may be nil.
	earlier func(name string) (job.Definition, bool)
	// changed holds one token while something is stale, or a kind has just been listed.
	changed chan struct{}

	mu sync.Mutex
	// All below is guarded by mu.
	cronJobs  map[types.UID]*cronJob
	byName    map[string]*cronJob // the definitions among them
	jobs      map[types.UID]*madeJob
	pods      map[types.UID]*pod
	owned     map[types.UID]map[types.UID]*pod // by their Jobs
	failures  map[types.UID]failure            // by the objects that they are about
	about     map[types.UID]types.UID          // the objects that events are about, by the events
	workloads map[types.UID]workload
	replicas  map[string]map[types.UID]workload // the same by name
	listed    [kindsWatched]bool
	stale     stale
}

// stale is what has changed since it was taken.
type stale struct {
	definitions, workloads map[string]struct{}
	jobs                   map[types.UID]struct{}
}

func newStale() stale {
	return stale{definitions: map[string]struct{}{}, workloads: map[string]struct{}{}, jobs: map[types.UID]struct{}{}}
}

func newView(logger zerolog.Logger) *view {
	return &view{
		logger: logger, complaints: kube.NewComplaints(), changed: make(chan struct{}, 1),
		cronJobs: map[types.UID]*cronJob{}, byName: map[string]*cronJob{}, jobs: map[types.UID]*madeJob{},
		pods: map[types.UID]*pod{}, owned: map[types.UID]map[types.UID]*pod{},
		failures: map[types.UID]failure{}, about: map[types.UID]types.UID{},
		workloads: map[types.UID]workload{}, replicas: map[string]map[types.UID]workload{}, stale: newStale(),
	}
}

// isListed notes that all objects of a kind have been reported once.
func (v *view) isListed(kind int) {
	v.listed[kind] = true
	v.wake()
}

// complete reports whether everything that existed at the start has been reported. Events only explain, and are not waited for.
func (v *view) complete() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !slices.Contains(v.listed[:ofEvents], false)
}

func (v *view) wake() {
	select {
	case v.changed <- struct{}{}:
	default: // a token is there already
	}
}

func (v *view) touchDefinition(name string) { v.stale.definitions[name] = struct{}{}; v.wake() }
func (v *view) touchWorkload(name string)   { v.stale.workloads[name] = struct{}{}; v.wake() }

// touchJob marks a Job, if it is known yet: else it is marked when it comes.
func (v *view) touchJob(uid types.UID) {
	if _, known := v.jobs[uid]; known {
		v.stale.jobs[uid] = struct{}{}
		v.wake()
	}
}

// lookAgain marks a Job although nothing has changed.
func (v *view) lookAgain(uid types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.touchJob(uid)
}

// isPartial reports whether there is a Job whose end was seen before that of its pods.
func (v *view) isPartial(now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for uid, made := range v.jobs {
		if isPartial(&made.object, now) && isPartial(v.object(uid), now) {
			return true
		}
	}
	return false
}

// news is what has changed. What is nil is gone, or never was.
type news struct {
	definitions map[string]*job.Definition
	workloads   map[string]*workload
	jobs        map[string]*job.Object // by UID
}

// take returns what has changed since the last call.
func (v *view) take() news {
	v.mu.Lock()
	defer v.mu.Unlock()
	taken := news{definitions: map[string]*job.Definition{}, workloads: map[string]*workload{}, jobs: map[string]*job.Object{}}
	for name := range v.stale.definitions {
		if c := v.byName[name]; c != nil {
			taken.definitions[name] = &c.definition
		} else {
			taken.definitions[name] = nil
		}
	}
	for name := range v.stale.workloads {
		taken.workloads[name] = together(v.replicas[name])
	}
	for uid := range v.stale.jobs {
		taken.jobs[string(uid)] = v.object(uid)
	}
	v.stale = newStale()
	return taken
}

// object is a Job with its pods, nil if it is gone.
func (v *view) object(uid types.UID) *job.Object {
	made := v.jobs[uid]
	if made == nil {
		return nil
	}
	o := made.with(slices.Collect(maps.Values(v.owned[uid])), v.failures)
	return &o
}
