package local

import (
	"reflect"

	"github.com/rs/zerolog"
)

// apply takes all workloads as the manifests have them now. What is new starts, what is gone ends, and what has changed is
// changed in place: its processes are replaced only if they cannot go on. It does nothing while Watch does not run.
func (c *Cluster) apply(workloads []Workload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch == nil || c.watch.Err() != nil {
		return
	}
	wanted := map[string]bool{}
	for _, workload := range workloads {
		name := workload.Function.Name
		wanted[name] = true
		if set := c.sets[name]; set != nil {
			c.change(set, workload)
		} else {
			c.add(workload)
		}
	}
	for name, set := range c.sets {
		switch {
		case wanted[name]:
		case !set.removed:
			c.remove(set)
		case set.forgotten && !set.anyAlive():
			delete(c.sets, name)
			delete(c.stale, set)
		}
	}
}

// add is called with mu held, as are those below.
func (c *Cluster) add(workload Workload) {
	set := &replicaSet{name: workload.Function.Name, workload: normal(workload), count: workload.firstCount()}
	c.sets[set.name] = set
	c.changed(set)
	c.followAddress(set)
	c.reconcile(set, nil)
}

// normal fills in what a manifest may leave out.
func normal(workload Workload) Workload {
	if workload.GracePeriod <= 0 {
		workload.GracePeriod = defaultGracePeriod
	}
	return workload
}

func (c *Cluster) change(set *replicaSet, workload Workload) {
	before, returned := set.workload, set.removed
	workload = normal(workload)
	if !returned && reflect.DeepEqual(before, workload) {
		return
	}
	set.workload, set.removed, set.forgotten = workload, false, false
	if before.URL != workload.URL {
		c.lookAgain()
	}
	if !before.sameProcess(workload) {
		set.version++
		c.logger.Info().Str("function", set.name).Str("manifest", workload.Source).Msg("the manifest has changed: processes are replaced one after the other")
	}
	if before.Function.Kind != workload.Function.Kind {
		c.endAll(set) // their names are those of the other kind
	}
	if returned || workload.Watched || (before.URL == "") != (workload.URL == "") {
		set.count = workload.firstCount() // otherwise Sluice has scaled it
	}
	c.followAddress(set)
	c.changed(set)
	c.reconcile(set, nil)
}

func (c *Cluster) remove(set *replicaSet) {
	c.logger.WithLevel(zerolog.InfoLevel).Str("function", set.name).Str("manifest", set.workload.Source).Msg("the manifest is gone: its processes end")
	set.removed, set.count = true, 0
	c.followAddress(set)
	c.changed(set)
	c.reconcile(set, nil)
}

func (c *Cluster) endAll(set *replicaSet) {
	for _, r := range set.wanted() {
		r.wanted = false
		c.end(r, true)
	}
}
