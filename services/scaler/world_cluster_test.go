package scaler

import (
	"cmp"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/function"
)

// terminating marks a replica of the model that ends; it is never ready.
const terminating = "terminating"

func (w *world) living() []function.Pod {
	return slices.DeleteFunc(slices.Clone(w.pods), func(p function.Pod) bool { return p.Problem == terminating })
}

// resize makes the model's cluster have count replicas, and returns those that it ends.
func (w *world) resize(count int, victims []string) (ended []function.Pod) {
	w.count = count
	for len(w.living()) < count {
		w.add()
	}
	living := w.living()
	slices.Reverse(living)
	slices.SortStableFunc(living, func(a, b function.Pod) int { return cmp.Compare(w.order(a, victims), w.order(b, victims)) })
	ended = living[:len(living)-count]
	for _, pod := range ended {
		i := slices.IndexFunc(w.pods, func(p function.Pod) bool { return p == pod })
		w.pods[i].Ready, w.pods[i].Problem = false, terminating
	}
	return ended
}

func (w *world) order(p function.Pod, victims []string) int {
	switch {
	case w.spec.Kind == function.KindStatefulSet:
		return -ordinal(p)
	case slices.Contains(victims, p.Name):
		return 0
	case !p.Ready:
		return 1
	}
	return 2
}

func (w *world) add() {
	w.births++
	name := fmt.Sprintf("f-%d", w.births)
	if w.spec.Kind == function.KindStatefulSet {
		for i := 0; ; i++ {
			name = fmt.Sprintf("f-%d", i)
			if !slices.ContainsFunc(w.living(), func(p function.Pod) bool { return p.Name == name }) {
				break
			}
		}
		// A StatefulSet has one replica of a name at a time.
		w.pods = slices.DeleteFunc(w.pods, func(p function.Pod) bool { return p.Name == name })
	}
	w.pods = append(w.pods, function.Pod{Name: name, Address: fmt.Sprintf("10.0.0.1:%d", w.births)})
	slices.SortStableFunc(w.pods, func(a, b function.Pod) int {
		if w.spec.Kind == function.KindStatefulSet {
			return cmp.Compare(ordinal(a), ordinal(b))
		}
		return 0
	})
}

func (w *world) ready(t *rapid.T) {
	if living := w.living(); len(living) > 0 {
		pod := rapid.SampledFrom(living).Draw(t, "replica")
		w.pods[slices.Index(w.pods, pod)].Ready = true
	}
}

// crash replaces a replica, whose calls are lost: nobody can help that.
func (w *world) crash(t *rapid.T) {
	living := w.living()
	if len(living) == 0 {
		return
	}
	pod := rapid.SampledFrom(living).Draw(t, "replica")
	w.births++
	w.lose(pod)
	i := slices.Index(w.pods, pod)
	w.pods[i].Ready, w.pods[i].Address = false, fmt.Sprintf("10.0.0.1:%d", w.births)
}

func (w *world) lose(pod function.Pod) {
	for _, sender := range w.senders {
		delete(sender.calls, pod.Address)
	}
}

// vanish takes away a replica that has ended.
func (w *world) vanish(*rapid.T) {
	i := slices.IndexFunc(w.pods, func(p function.Pod) bool { return p.Problem == terminating })
	if i >= 0 {
		w.pods = slices.Delete(w.pods, i, i+1)
	}
}

func (w *world) vanishAll() {
	w.pods = w.living()
}

// othersSet raises the count: who lowers it cuts calls by himself. It does not happen at the very moment of a request of ours,
// which would win without knowing.
func (w *world) othersSet(t *rapid.T) {
	if more := w.count + rapid.IntRange(1, 2).Draw(t, "more"); more <= 6 && len(w.asked) == 0 {
		w.resize(more, nil)
		w.observe(t)
	}
}

// endFor carries out a request, and checks each replica that it ends.
func (w *world) endFor(t *rapid.T, r request) {
	for _, pod := range w.resize(r.count, r.victims) {
		for _, sender := range w.senders {
			if sender.calls[pod.Address] > 0 {
				t.Fatalf("%s was ended with a call of %s in flight: asked for %d, victims %v", pod.Name, sender.name, r.count, r.victims)
			}
			if slices.ContainsFunc(w.bucket[sender.revision].endpoints, func(e function.Endpoint) bool { return e.Address == pod.Address }) {
				t.Fatalf("%s was ended while %s would send calls to it: asked for %d, victims %v", pod.Name, sender.name, r.count, r.victims)
			}
		}
	}
}

// check holds after each step.
func (w *world) check(t *rapid.T) {
	f := w.scaler.functions[w.spec.Name]
	for _, e := range f.state.Endpoints {
		if _, draining := f.draining[e.Replica]; draining {
			t.Fatalf("%s drains and takes calls", e.Replica)
		}
	}
	if len(f.state.Decisions) > function.MaxDecisions {
		t.Fatalf("%d decisions are kept", len(f.state.Decisions))
	}
	if setting := slices.ContainsFunc(w.asked, func(r *modelRequest) bool { return r.f == f }); setting != f.setting || len(w.asked) > 1 {
		t.Fatalf("%d requests are under way, setting is %v", len(w.asked), f.setting)
	}
	if w.scaler.sharing.running != len(w.changes) || len(w.changes) > 1 {
		t.Fatalf("%d changes of the key are under way, %d are counted", len(w.changes), w.scaler.sharing.running)
	}
}
