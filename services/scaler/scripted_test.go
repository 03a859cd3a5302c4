package scaler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// setCall is one call of SetReplicas.
type setCall struct {
	name    string
	count   int
	victims []string
	at      time.Time
}

// scripted is a cluster in memory whose pods are ready at once.
type scripted struct {
	mu        sync.Mutex
	names     []string                             // guarded by mu: in the order of their first observation
	workloads map[string]function.Workload         // guarded by mu
	births    map[string]int                       // guarded by mu
	calls     []setCall                            // guarded by mu
	answer    func(context.Context, setCall) error // guarded by mu: decides about a call before it is carried out
	silent    bool                                 // guarded by mu: changes by SetReplicas are not observed
	watchErr  chan error
	events    chan func(Observer)
}

func newScripted(workloads ...function.Workload) *scripted {
	c := &scripted{
		workloads: map[string]function.Workload{}, births: map[string]int{},
		watchErr: make(chan error, 1), events: make(chan func(Observer), 64),
	}
	for _, w := range workloads {
		c.names = append(c.names, w.Function.Name)
		c.workloads[w.Function.Name] = w
		c.births[w.Function.Name] = len(w.Pods)
	}
	return c
}

func (c *scripted) Watch(ctx context.Context, observer Observer) error {
	c.mu.Lock()
	names := slices.Clone(c.names)
	c.mu.Unlock()
	for _, name := range names {
		c.mu.Lock()
		w := c.workloads[name]
		c.mu.Unlock()
		observer.Observe(w)
	}
	observer.Synced()
	for {
		select {
		case event := <-c.events:
			event(observer)
		case err := <-c.watchErr:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *scripted) SetReplicas(ctx context.Context, name string, count int, victims []string) error {
	call := setCall{name: name, count: count, victims: victims, at: time.Now()}
	c.mu.Lock()
	c.calls = append(c.calls, call)
	answer, silent := c.answer, c.silent
	c.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, call); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w, known := c.workloads[name]
	if !known {
		return fmt.Errorf("there is no %s", name)
	}
	w = c.resized(w, call)
	c.workloads[name] = w
	if !silent {
		c.events <- func(o Observer) { o.Observe(w) }
	}
	return nil
}

func (c *scripted) resized(w function.Workload, call setCall) function.Workload {
	w.Replicas, w.Pods = call.count, slices.Clone(w.Pods)
	for len(w.Pods) < call.count {
		c.births[call.name]++
		w.Pods = append(w.Pods, pod(call.name, c.births[call.name]))
	}
	for _, victim := range append(slices.Clone(call.victims), "") {
		if i := slices.IndexFunc(w.Pods, func(p function.Pod) bool { return p.Name == victim }); i >= 0 && len(w.Pods) > call.count {
			w.Pods = slices.Delete(w.Pods, i, i+1)
		}
	}
	w.Pods = w.Pods[:min(len(w.Pods), call.count)]
	return w
}

// change changes a workload and lets it be observed.
func (c *scripted) change(name string, edit func(*function.Workload)) {
	c.mu.Lock()
	w := c.workloads[name]
	w.Pods = slices.Clone(w.Pods)
	edit(&w)
	w.Function.Name = name
	c.workloads[name] = w
	c.mu.Unlock()
	c.events <- func(o Observer) { o.Observe(w) }
}

func (c *scripted) remove(name string) {
	c.mu.Lock()
	delete(c.workloads, name)
	c.names = slices.DeleteFunc(c.names, func(n string) bool { return n == name })
	c.mu.Unlock()
	c.events <- func(o Observer) { o.Forget(name) }
}

func (c *scripted) script(answer func(context.Context, setCall) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

func (c *scripted) keepSilent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = true
}

// of returns the calls of SetReplicas for a function so far.
func (c *scripted) of(name string) []setCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.calls), func(call setCall) bool { return call.name != name })
}

var errCluster = errors.New("the cluster has no time")
