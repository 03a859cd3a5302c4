package jobrunner

import (
	"context"
	"time"
)

// place is what a helper waits for. Each has a bound of its own, so that one which does not answer holds up nothing that does not need it.
type place int

// The places.
const (
	onBus place = iota
	onCluster
	onOutput
	places
)

func (p place) String() string { return [...]string{"NATS", "the cluster", "the output of pods"}[p] }

// most is how many helpers may be at work at a time, and patience how long one may take.
var (
	most     = [places]int{onBus: 64, onCluster: 64, onOutput: 8}
	patience = [places]time.Duration{onBus: 10 * time.Second, onCluster: 30 * time.Second, onOutput: 2 * time.Minute}
)

// work is what a helper does; what it returns is done by Run's goroutine.
type work func(context.Context) (then func(now time.Time))

// turn is what waits for a helper: a step of a run, which is decided when the turn has come, or other work.
type turn struct {
	run  *tracked
	work work
}

// turns are the helpers and who waits for one.
type turns struct {
	waiting [places][]turn
	running [places]int
}

func (h *turns) add(p place, t *tracked) {
	t.busy = true
	h.waiting[p] = append(h.waiting[p], turn{run: t})
}

func (h *turns) addWork(p place, w work) { h.waiting[p] = append(h.waiting[p], turn{work: w}) }

// startTurns lets helpers do what waits, in its order.
func (r *Runner) startTurns(ctx context.Context) {
	for p := range places {
		for len(r.turns.waiting[p]) > 0 && r.turns.running[p] < most[p] {
			next := r.turns.waiting[p][0]
			r.turns.waiting[p] = r.turns.waiting[p][1:]
			r.start(ctx, p, next)
		}
	}
}

func (r *Runner) start(ctx context.Context, p place, next turn) {
	if t := next.run; t != nil {
		t.busy = false
		step, ok := r.next(t, time.Now())
		if ok && step.place != p {
			r.turns.add(step.place, t) // what is to be done has changed since
		}
		if !ok {
			r.touch(t)
		}
		if !ok || step.place != p {
			return
		}
		t.busy = true
		next.work = step.work
	}
	r.turns.running[p]++
	r.helpers.Go(func() {
		bound, cancel := context.WithTimeout(ctx, patience[p])
		then := next.work(bound)
		cancel()
		r.do(func(now time.Time) { r.onDone(p, next.run, then, now) })
	})
}

func (r *Runner) onDone(p place, t *tracked, then func(time.Time), now time.Time) {
	r.turns.running[p]--
	if t != nil {
		t.busy = false
		r.touch(t)
	}
	then(now)
	if t != nil && t.later != nil {
		later := *t.later
		t.later = nil
		r.take(t, later)
	}
}
