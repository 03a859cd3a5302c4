package job_test

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
)

// explorer goes through all states of a world, those with the fewest moves first.
type explorer struct {
	world   *world
	states  []worldState
	parents []int32
	known   table
	// settles are states from which the first runner alone has come to a good end.
	settles map[worldState]struct{}
}

// finding is what is wrong, with the shortest way to it.
type finding struct {
	what  string
	trace []string
}

func (f *finding) String() string { return f.what + "\n\t" + strings.Join(f.trace, "\n\t") }

// explore goes through all states, or the first most of them, and returns how many there are and the first finding: nil if there is none.
func explore(w *world, most int) (int, *finding) {
	e := &explorer{world: w, settles: map[worldState]struct{}{}}
	e.reach(w.start(), -1)
	for i := 0; i < min(len(e.states), most); i++ {
		s := e.states[i]
		if what := w.wrong(&s); what != "" {
			return i, &finding{what, e.trace(int32(i))}
		}
		for who := range s.runners {
			if what, after := e.settle(s, who); what != "" {
				return i, &finding{what, append(e.trace(int32(i)), after...)}
			}
		}
		w.moves(&s, func(_ move, next worldState) { e.reach(next, int32(i)) })
	}
	return len(e.states), nil
}

func (e *explorer) reach(s worldState, parent int32) {
	s = e.world.canonical(s)
	if e.known.add(s, e.states) {
		e.states, e.parents = append(e.states, s), append(e.parents, parent)
	}
}

// table knows states by their places in a slice. A map of so many would take several times as long.
type table struct {
	// slots are the upper half of a hash and a place, from 1; the upper half also says where in slots to look first.
	slots []uint64
	used  int
	seed  maphash.Seed
}

// add notes the state, which then has the next place in states, and reports whether it is new.
func (t *table) add(s worldState, states []worldState) bool {
	if t.slots == nil {
		t.slots, t.seed = make([]uint64, 1<<16), maphash.MakeSeed()
	}
	if t.used > len(t.slots)/2 {
		t.grow()
	}
	hash := maphash.Comparable(t.seed, s) &^ math.MaxUint32
	i := t.first(hash)
	for ; t.slots[i] != 0; i = (i + 1) % len(t.slots) {
		if slot := t.slots[i]; slot&^math.MaxUint32 == hash && states[slot&math.MaxUint32-1] == s {
			return false
		}
	}
	t.used++
	t.slots[i] = hash | uint64(t.used)
	return true
}

func (t *table) first(hash uint64) int { return int(hash>>32) % len(t.slots) }

func (t *table) grow() {
	old := t.slots
	t.slots = make([]uint64, 2*len(old))
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		i := t.first(slot)
		for t.slots[i] != 0 {
			i = (i + 1) % len(t.slots)
		}
		t.slots[i] = slot
	}
}

// canonical is the same state for all that differ in nothing that matters any more.
func (w *world) canonical(s worldState) worldState {
	if run := w.run(s.record); run.Phase.Final() || run.Ending != nil && s.left.recordLosses == 0 {
		s.left.cancels = 0
	}
	if !s.has(queued) && w.run(s.record).JobUID != "" {
		s.left.redeliveries = 0
	}
	if !w.lag {
		s.cache = s.jobs
	}
	for i := range s.runners {
		w.forget(&s.runners[i])
	}
	if w.twins && s.runners[0].less(s.runners[1]) {
		s.runners[0], s.runners[1] = s.runners[1], s.runners[0]
	}
	return s
}

// forget drops what a runner does not use any more.
func (w *world) forget(r *runnerState) {
	if r.has(mustRead) && !w.rules.believeOldLooks {
		r.clear(looked | denied | refused | fresh)
	}
	switch run := w.run(r.record); {
	case r.has(read) && r.record == 0 && r.object == 0 && !r.has(holds|mustRead|mustLook):
		*r = runnerState{} // it has nothing in hand
	case run.Closed:
		r.clear(kept | told)
	case run.Phase.Final():
		r.clear(kept)
	}
}

func (r runnerState) less(other runnerState) bool {
	key := func(r runnerState) uint64 {
		return uint64(r.record)<<40 | uint64(r.flags)<<24 | uint64(r.object)<<8 | uint64(r.name)
	}
	return key(r) < key(other)
}

// trace is the way to a state: the moves, and the world after each.
func (e *explorer) trace(i int32) (steps []string) {
	for ; e.parents[i] >= 0; i = e.parents[i] {
		before, after := e.states[e.parents[i]], e.states[i]
		var way move
		e.world.moves(&before, func(m move, next worldState) {
			if way.what == "" && e.world.canonical(next) == after {
				way = m
			}
		})
		steps = append(steps, fmt.Sprintf("%-40s → %s", way, e.world.String(&after)))
	}
	slices.Reverse(steps)
	return steps
}

// settle lets one runner work alone from here, with all that can be relied on: messages come again, watches catch up, Kubernetes goes on, nothing fails. It returns what is wrong with
// where that ends, and how it went there.
func (e *explorer) settle(s worldState, who int) (what string, steps []string) {
	s.runners[0], s.runners[1] = s.runners[who], runnerState{}
	s.left, s.late = budgets{}, request{}
	var path []worldState
	for {
		e.world.forget(&s.runners[0])
		if _, ok := e.settles[s]; ok {
			break
		}
		if slices.Contains(path, s) {
			return "one runner alone goes round in circles", append(steps, "…")
		}
		path = append(path, s)
		m, next := e.world.next(s)
		if m.what == "" {
			if what := e.world.unsettled(&s); what != "" {
				return "in the end, " + what, append(steps, "nothing more happens")
			}
			break
		}
		steps = append(steps, fmt.Sprintf("alone: %-33s → %s", m, e.world.String(&next)))
		if what := e.world.wrong(&next); what != "" {
			return what, steps
		}
		s = next
	}
	for _, s := range path {
		e.settles[s] = struct{}{}
	}
	return "", nil
}

// next is the one move that happens next when only the first runner is there: it hears of everything at once, and works as long as it has something to do.
func (w *world) next(s worldState) (way move, next worldState) {
	first := func(m move, after worldState) {
		if way.what == "" {
			way, next = m, after
		}
	}
	if s.cache != s.jobs {
		s.cache = s.jobs
		return move{what: "the watch catches up"}, s
	}
	w.hear(&s, 0, func(m move, after worldState) {
		if m.what != triesAgain {
			first(m, after)
		}
	})
	for _, then := range []func(){
		func() { w.act(s, 0, first) },
		func() { w.hear(&s, 0, first) },
		func() { w.kubernetes(&s, first) },
		func() { w.people(&s, first) },
		func() { w.faults(&s, first) },
	} {
		if way.what == "" {
			then()
		}
	}
	return way, next
}
