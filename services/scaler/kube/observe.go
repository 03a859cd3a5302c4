package kube

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/function"
)

// count is how many replicas an object asks for, as of one of its versions.
type count struct {
	kind     string
	uid      types.UID
	version  string
	replicas int
}

// observation is one function as the view has it.
type observation struct {
	workload function.Workload
	count    count
	// pods are those that a cut may name, and whether each has our mark of those that end first.
	pods map[string]bool
	// again is after how long time alone may change it, 0 for never.
	again time.Duration
}

// silence is how long a StatefulSet's controller may make no pod, with nothing to wait for, before that is a problem.
const silence = 10 * time.Second

// observe puts together what is known of the function, or of what functions depend on. It is false if there is neither of that name.
func (v *view) observe(name string, now time.Time) (observation, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w, same := v.named(name)
	if w == nil {
		return observation{}, false
	}
	o := observation{
		count: count{kind: w.kind, uid: w.uid, version: w.version, replicas: w.replicas},
		pods:  map[string]bool{},
		workload: function.Workload{
			Function: v.specification(w), Watched: !w.isFunction, Replicas: w.replicas, FirstOrdinal: w.ordinal,
			Problems: slices.Clone(w.problems),
		},
	}
	for _, other := range same {
		o.problem(fmt.Sprintf("the %s %s is no function, because this %s has the same name and is older: rename one", other.kind, name, w.kind))
	}
	if w.refused != "" {
		o.block(refusal(w.refused))
	}
	v.observePods(&o, w, now)
	return o, true
}

// specification is what annotations and Services say of the function; its name and kind for a workload that is none.
func (v *view) specification(w *workload) function.Function {
	if !w.isFunction {
		return function.Function{Name: w.name, Kind: w.kind}
	}
	f := w.function
	f.Protocol = v.protocolOf(w)
	return f
}

func (o *observation) problem(sentence string) {
	o.workload.Problems = append(o.workload.Problems, sentence)
}

// block takes a trouble of the whole workload.
func (o *observation) block(t trouble) {
	o.problem(t.text)
	o.workload.Blocked = t.blocks
}

// lookAgain notes that time alone may change the observation, after a while.
func (o *observation) lookAgain(after time.Duration) {
	after = max(after, 0) + 1
	if o.again == 0 || after < o.again {
		o.again = after
	}
}

func (v *view) observePods(o *observation, w *workload, now time.Time) {
	waiting := false
	for _, p := range v.podsOf(w) {
		if p.finished {
			continue
		}
		o.workload.Pods = append(o.workload.Pods, p.observe(w, now))
		o.pods[p.name] = p.cheap
		waiting = waiting || !p.ready
		if o.workload.Blocked == "" {
			o.workload.Blocked = p.trouble.blocks
		}
		if !p.unreadyFrom.IsZero() && !p.isSlow(now) {
			o.lookAgain(p.unreadyFrom.Add(slowStart).Sub(now))
		}
	}
	v.observeSilence(o, w, !waiting && len(o.workload.Pods) < w.replicas, now)
}

// observeSilence finds out that a StatefulSet's controller cannot make pods, which it says in events only: it has seen the
// specification, all the pods that there are serve, and the next one does not come.
func (v *view) observeSilence(o *observation, w *workload, missing bool, now time.Time) {
	if w.kind != function.KindStatefulSet || !w.settled || !missing {
		delete(v.silent, w.uid)
		return
	}
	from, known := v.silent[w.uid]
	if !known {
		from = now
		v.silent[w.uid] = now
	}
	if now.Sub(from) <= silence {
		o.lookAgain(from.Add(silence).Sub(now))
		return
	}
	o.block(trouble{
		text: fmt.Sprintf("it has %d of %d pods, and its controller makes no further one: its events say why, often a quota",
			len(o.workload.Pods), w.replicas),
		blocks: blockedBySilence,
	})
}
