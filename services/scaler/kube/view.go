package kube

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/function"
)

// The kinds of objects that are watched.
const (
	ofDeployments = iota
	ofStatefulSets
	ofReplicaSets
	ofPods
	ofServices
	kindsWatched
)

// view is what the API server has reported of the namespace, reduced to what functions need. The reflectors write it, and
// Watch reads it.
type view struct {
	// complaints gets what is newly wrong with annotations.
	complaints *complaints
	// own selects the pods of Sluice itself.
	own labels.Selector
	// earlier is what an earlier leader has shared of a function, if it has; may be nil.
	earlier func(name string) (function.Function, bool)
	// changed holds one token while there is something in stale, insideStale is set or all kinds have just been listed.
	changed chan struct{}

	mu sync.Mutex
	// All below is guarded by mu.
	workloads map[types.UID]*workload
	functions map[string][]*workload // by name; the oldest first, which is the function
	others    map[string][]*workload // those that are no functions, the same way
	// needed counts, by the name of a workload, the functions that depend on it.
	needed   map[string]int
	services map[types.UID]function.Service // those that say more than HTTP/1.1
	sets     map[types.UID]owner            // ReplicaSets, with the Deployment that controls each
	pods     map[types.UID]*pod
	owned    map[types.UID]map[types.UID]struct{} // by owner: the Deployment's ReplicaSets, and the others' pods
	listed   [kindsWatched]bool
	stale    map[string]struct{} // functions, and workloads that they depend on, that have changed since they were taken
	// insideStale says that somebody may be inside who was not when it was cleared, or the other way round.
	insideStale bool
	// silent are the StatefulSets that lack a pod without a visible reason, with the time since when.
	silent map[types.UID]time.Time
}

// owner is the object that controls another one.
type owner = types.UID

func newView(logger zerolog.Logger, own labels.Selector) *view {
	return &view{
		complaints: newComplaints(logger), own: own, changed: make(chan struct{}, 1), insideStale: true,
		workloads: map[types.UID]*workload{}, functions: map[string][]*workload{}, others: map[string][]*workload{},
		needed: map[string]int{}, services: map[types.UID]function.Service{},
		sets: map[types.UID]owner{}, pods: map[types.UID]*pod{}, owned: map[types.UID]map[types.UID]struct{}{}, stale: map[string]struct{}{},
		silent: map[types.UID]time.Time{},
	}
}

// workloadKinds has the kinds of the workloads.
var workloadKinds = map[int]string{ofDeployments: function.KindDeployment, ofStatefulSets: function.KindStatefulSet}

// before is the object as it was, nil for a new one. Of those that are there when the term begins it is known what an earlier leader has shared.
func (v *view) before(source int, object metav1.Object) *workload {
	if w := v.workloads[object.GetUID()]; w != nil || v.listed[source] || v.earlier == nil {
		return w
	}
	f, known := v.earlier(object.GetName())
	if !known || f.Kind != workloadKinds[source] {
		return nil
	}
	return &workload{isFunction: true, function: f}
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

// takeStale returns the names of what has changed since the last call, in order.
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

// touch marks what the name belongs to.
func (v *view) touch(name string) {
	v.stale[name] = struct{}{}
	v.wake()
}

// touchOwner marks what an owner of pods belongs to, if it is known yet: else it is marked when it comes.
func (v *view) touchOwner(uid owner) {
	if w := v.workloadOf(uid); w != nil && v.matters(w) {
		v.touch(w.name)
	}
}

// workloadOf is the workload that an owner of pods is, or that controls it; nil while it is not known.
func (v *view) workloadOf(uid owner) *workload {
	if deployment, isSet := v.sets[uid]; isSet {
		uid = deployment
	}
	return v.workloads[uid]
}

// matters reports whether the observer is to know the workload.
func (v *view) matters(w *workload) bool { return w.isFunction || v.needed[w.name] > 0 }

// putWorkload takes a Deployment or StatefulSet as it is now.
func (v *view) putWorkload(w *workload) {
	old := v.workloads[w.uid]
	v.removeWorkload(old)
	v.workloads[w.uid] = w
	v.touchInside(old, w)
	v.complaints.about(old, w)
	if w.leaving {
		return
	}
	group := v.group(w)
	group[w.name] = append(group[w.name], w)
	slices.SortFunc(group[w.name], byAge)
	v.need(w.function.DependsOn, 1)
	if v.matters(w) {
		v.touch(w.name)
	}
}

func (v *view) dropWorkload(uid types.UID) {
	if old := v.workloads[uid]; old != nil {
		v.removeWorkload(old)
		v.touchInside(old, &workload{})
	}
}

// removeWorkload undoes what putWorkload has done for it.
func (v *view) removeWorkload(old *workload) {
	if old == nil {
		return
	}
	delete(v.workloads, old.uid)
	if old.leaving {
		return
	}
	group := v.group(old)
	group[old.name] = slices.DeleteFunc(group[old.name], func(w *workload) bool { return w == old })
	if len(group[old.name]) == 0 {
		delete(group, old.name)
	}
	if v.matters(old) {
		v.touch(old.name)
	}
	v.need(old.function.DependsOn, -1)
}

// group is where workloads of its sort are found by name.
func (v *view) group(w *workload) map[string][]*workload {
	if w.isFunction {
		return v.functions
	}
	return v.others
}

// need counts a function more, or less, that depends on the workloads with the names.
func (v *view) need(names []string, change int) {
	for _, name := range names {
		before := v.needed[name]
		if v.needed[name] = before + change; v.needed[name] == 0 {
			delete(v.needed, name)
		}
		if (before == 0) != (v.needed[name] == 0) {
			v.touch(name)
		}
	}
}

// named is the workload that the observer knows by the name: the function, or what functions depend on.
func (v *view) named(name string) (w *workload, same []*workload) {
	if same = v.functions[name]; len(same) > 0 {
		return same[0], same[1:]
	}
	if v.needed[name] > 0 && len(v.others[name]) > 0 {
		return v.others[name][0], nil
	}
	return nil, nil
}

// byAge puts the older of two workloads of one name first.
func byAge(a, b *workload) int {
	if c := a.created.Compare(b.created); c != 0 {
		return c
	}
	return strings.Compare(a.kind, b.kind)
}

// putSet takes a ReplicaSet and the Deployment that controls it.
func (v *view) putSet(uid types.UID, deployment owner) {
	if v.sets[uid] != deployment {
		v.dropSet(uid)
		v.insideIsStale()
	}
	v.sets[uid] = deployment
	v.link(deployment, uid)
	v.touchOwner(uid)
}

func (v *view) dropSet(uid types.UID) {
	deployment, known := v.sets[uid]
	if !known {
		return
	}
	v.touchOwner(uid)
	v.unlink(deployment, uid)
	delete(v.sets, uid)
	v.insideIsStale()
}

// putPod takes a pod as it is now.
func (v *view) putPod(p *pod) {
	old := v.pods[p.uid]
	if old == nil || !old.isSeenAs(p) {
		v.insideIsStale()
	}
	if old != nil && old.owner != p.owner {
		v.dropPod(p.uid)
	}
	v.pods[p.uid] = p
	v.link(p.owner, p.uid)
	v.touchOwner(p.owner)
}

func (v *view) dropPod(uid types.UID) {
	old := v.pods[uid]
	if old == nil {
		return
	}
	v.unlink(old.owner, uid)
	delete(v.pods, uid)
	v.touchOwner(old.owner)
	v.insideIsStale()
}

// link notes that an object belongs to its owner; nobody owns what has none.
func (v *view) link(by owner, uid types.UID) {
	if by == "" {
		return
	}
	if v.owned[by] == nil {
		v.owned[by] = map[types.UID]struct{}{}
	}
	v.owned[by][uid] = struct{}{}
}

func (v *view) unlink(by owner, uid types.UID) {
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
	if w.kind == function.KindStatefulSet {
		collect(w.uid)
	} else {
		for uid := range v.owned[w.uid] {
			collect(uid) // its ReplicaSets
		}
	}
	slices.SortFunc(pods, byBirth)
	return pods
}

// byBirth puts the older pod first.
func byBirth(a, b *pod) int {
	if c := a.created.Compare(b.created); c != 0 {
		return c
	}
	return strings.Compare(a.name, b.name)
}
