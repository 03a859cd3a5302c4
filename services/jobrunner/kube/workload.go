package kube

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/function"
)

// workload is what we keep of a Deployment or StatefulSet, which a job may depend on.
type workload struct {
	name  string // with its kind, as in StatefulSet/mysql
	uid   types.UID
	ready int
	// current says that its controller has seen its newest generation, so that ready is about that.
	current bool
	// leaving says that it is being deleted.
	leaving bool
}

func readDeployment(d *appsv1.Deployment) workload {
	return workload{
		name: function.KindDeployment + "/" + d.Name, uid: d.UID, ready: int(d.Status.ReadyReplicas), current: d.Status.ObservedGeneration >= d.Generation,
		leaving: d.DeletionTimestamp != nil,
	}
}

func readStatefulSet(s *appsv1.StatefulSet) workload {
	return workload{
		name: function.KindStatefulSet + "/" + s.Name, uid: s.UID, ready: int(s.Status.ReadyReplicas), current: s.Status.ObservedGeneration >= s.Generation,
		leaving: s.DeletionTimestamp != nil,
	}
}

// together is what the workloads of one name are worth to who depends on the name, nil if there is none. There are two while the news of the end of one that was made anew
// are late: all of them have to be ready.
func together(same map[types.UID]workload) *workload {
	var all *workload
	for _, w := range same {
		if all == nil {
			all = &w
			continue
		}
		all.ready, all.current = min(all.ready, w.ready), all.current && w.current
	}
	return all
}

// putWorkload takes a workload as it is now.
func (v *view) putWorkload(w workload) {
	if old, known := v.workloads[w.uid]; known && old == w {
		return
	}
	v.dropWorkload(w.uid)
	v.workloads[w.uid] = w
	if w.leaving {
		return
	}
	if v.replicas[w.name] == nil {
		v.replicas[w.name] = map[types.UID]workload{}
	}
	v.replicas[w.name][w.uid] = w
	v.touchWorkload(w.name)
}

func (v *view) dropWorkload(uid types.UID) {
	old, known := v.workloads[uid]
	if !known {
		return
	}
	delete(v.workloads, uid)
	delete(v.replicas[old.name], uid)
	if len(v.replicas[old.name]) == 0 {
		delete(v.replicas, old.name)
	}
	v.touchWorkload(old.name)
}
