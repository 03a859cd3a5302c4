package kube

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/function"
)

// The kinds of objects that are watched.
const (
	ofDeployments = iota
	ofStatefulSets
	ofReplicaSets
	ofPods
	kindsWatched
)

// view is what the API server has reported of the namespace, reduced to what functions need. The reflectors write it, and
// Watch reads it.
type view struct {
	logger zerolog.Logger
	// changed holds one token while there is something in stale or all kinds have just been listed.
	changed chan struct{}

	mu sync.Mutex
	// All below is guarded by mu.
	workloads map[types.UID]*workload
	functions map[string][]*workload // by name; the oldest first, which is the function
	sets      map[types.UID]owner    // ReplicaSets, with the Deployment that controls each
	pods      map[types.UID]*pod
	owned     map[types.UID]map[types.UID]struct{} // by owner: the Deployment's ReplicaSets, and the others' pods
	listed    [kindsWatched]bool
	stale     map[string]struct{} // functions that have changed since they were taken
	// silent are the StatefulSets that lack a pod without a visible reason, with the time since when.
	silent map[types.UID]time.Time
}

// owner is the object that controls another one.
type owner = types.UID

func newView(logger zerolog.Logger) *view {
	return &view{
		logger: logger, changed: make(chan struct{}, 1), workloads: map[types.UID]*workload{}, functions: map[string][]*workload{},
		sets: map[types.UID]owner{}, pods: map[types.UID]*pod{}, owned: map[types.UID]map[types.UID]struct{}{}, stale: map[string]struct{}{},
		silent: map[types.UID]time.Time{},
	}
}

// isListed notes that all objects of a kind have been reported once.
func (v *view) isListed(kind int) {
	v.listed[kind] = true
	v.wake()
}

// complete reports whether everything that existed at the start has been reported.
func (v *view) complete() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !slices.Contains(v.listed[:], false)
}

// takeStale returns the names of the functions that have changed since the last call, in order.
func (v *view) takeStale() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	names := make([]string, 0, len(v.stale))
	for name := range v.stale {
		names = append(names, name)
	}
	clear(v.stale)
	slices.Sort(names)
	return names
}

func (v *view) wake() {
	select {
	case v.changed <- struct{}{}:
	default: // a token is there already
	}
}

// touch marks the function that name belongs to.
func (v *view) touch(name string) {
	v.stale[name] = struct{}{}
	v.wake()
}

// touchOwner marks the function that an owner of pods belongs to, if it is known yet: else it is marked when it comes.
func (v *view) touchOwner(uid owner) {
	if deployment, isSet := v.sets[uid]; isSet {
		uid = deployment
	}
	if w := v.workloads[uid]; w != nil && w.isFunction {
		v.touch(w.name)
	}
}

// putWorkload takes a Deployment or StatefulSet as it is now.
func (v *view) putWorkload(w *workload) {
	old := v.workloads[w.uid]
	v.dropWorkload(w.uid)
	v.workloads[w.uid] = w
	if !w.isFunction {
		v.logRefused(old, w)
		return
	}
	same := append(v.functions[w.name], w)
	slices.SortFunc(same, byAge)
	v.functions[w.name] = same
	v.touch(w.name)
}

// logRefused tells once why a workload is no function although its annotations look as if it should be: nothing else can show it.
func (v *view) logRefused(old, w *workload) {
	if len(w.problems) == 0 || old != nil && slices.Equal(old.problems, w.problems) {
		return
	}
	v.logger.Warn().Str("workload", w.name).Strs("problems", w.problems).Msg("a workload with annotations of ours is no function")
}

func (v *view) dropWorkload(uid types.UID) {
	old := v.workloads[uid]
	if old == nil {
		return
	}
	delete(v.workloads, uid)
	if !old.isFunction {
		return
	}
	v.functions[old.name] = slices.DeleteFunc(v.functions[old.name], func(w *workload) bool { return w == old })
	if len(v.functions[old.name]) == 0 {
		delete(v.functions, old.name)
	}
	v.touch(old.name)
}

// byAge puts the older of two workloads of one name first.
func byAge(a, b *workload) int {
	if c := a.created.Compare(b.created); c != 0 {
		return c
	}
	return strings.Compare(a.function.Kind, b.function.Kind)
}

// putSet takes a ReplicaSet and the Deployment that controls it.
func (v *view) putSet(uid types.UID, deployment owner) {
	if v.sets[uid] != deployment {
		v.dropSet(uid)
	}
	v.sets[uid] = deployment
	v.own(deployment, uid)
	v.touchOwner(uid)
}

func (v *view) dropSet(uid types.UID) {
	deployment, known := v.sets[uid]
	if !known {
		return
	}
	v.touchOwner(uid)
	v.disown(deployment, uid)
	delete(v.sets, uid)
}

// putPod takes a pod as it is now.
func (v *view) putPod(p *pod) {
	if old := v.pods[p.uid]; old != nil && old.owner != p.owner {
		v.dropPod(p.uid)
	}
	v.pods[p.uid] = p
	v.own(p.owner, p.uid)
	v.touchOwner(p.owner)
}

func (v *view) dropPod(uid types.UID) {
	old := v.pods[uid]
	if old == nil {
		return
	}
	v.disown(old.owner, uid)
	delete(v.pods, uid)
	v.touchOwner(old.owner)
}

func (v *view) own(by owner, uid types.UID) {
	if v.owned[by] == nil {
		v.owned[by] = map[types.UID]struct{}{}
	}
	v.owned[by][uid] = struct{}{}
}

func (v *view) disown(by owner, uid types.UID) {
	delete(v.owned[by], uid)
	if len(v.owned[by]) == 0 {
		delete(v.owned, by)
	}
}

// podsOf returns the pods of a workload along the chain of owners, the oldest first.
func (v *view) podsOf(w *workload) []*pod {
	var pods []*pod
	collect := func(by owner) {
		for uid := range v.owned[by] {
			if p := v.pods[uid]; p != nil {
				pods = append(pods, p)
			}
		}
	}
	if w.function.Kind == function.KindStatefulSet {
		collect(w.uid)
	} else {
		for uid := range v.owned[w.uid] {
			collect(uid) // its ReplicaSets
		}
	}
	slices.SortFunc(pods, func(a, b *pod) int {
		if c := a.created.Compare(b.created); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return pods
}
