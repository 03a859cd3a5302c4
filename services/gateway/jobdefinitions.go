package gateway

import (
	"maps"
	"slices"
	"sync"

	"github.com/sluicefaas/sluice/pkg/job"
)

// definitions are the jobs that there are. It is a bus.DefinitionsReader.
type definitions struct {
	known chan struct{} // closed when the bucket has been read once
	once  sync.Once     // closes known

	mu     sync.RWMutex
	byName map[string]job.Definition // guarded by mu
	shown  map[string]slimFaasJob    // guarded by mu

	// removed is told of each that is gone.
	removed func(name string)
}

func newDefinitions(removed func(name string)) *definitions {
	return &definitions{known: make(chan struct{}), byName: map[string]job.Definition{}, shown: map[string]slimFaasJob{}, removed: removed}
}

// ApplyDefinition takes the newest version of a job.
func (d *definitions) ApplyDefinition(definition job.Definition) {
	shown := slimFaasJobOf(definition)
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.byName[definition.Name]; ok && old.Refused == "" && definition.Refused != "" {
		d.removed(definition.Name)
	}
	d.byName[definition.Name], d.shown[definition.Name] = definition, shown
}

// RemoveDefinition forgets a job.
func (d *definitions) RemoveDefinition(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.byName[name]; ok {
		delete(d.byName, name)
		delete(d.shown, name)
		d.removed(name)
	}
}

// AppliedDefinitions says that everything up to the revision has been told.
func (d *definitions) AppliedDefinitions(uint64) { d.once.Do(func() { close(d.known) }) }

// find is the job that is meant by a name in a URL, which is given as it was sent. Where it is not found because it is refused, it is returned all the same.
func (d *definitions) find(name string) (job.Definition, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return job.Find(name, d.byName)
}

// visible are the jobs that callers from inside, or from outside, may know of, sorted by name. Those that are refused are for callers from inside.
func (d *definitions) visible(inside bool) []job.Definition {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var found []job.Definition
	for _, name := range slices.Sorted(maps.Keys(d.byName)) {
		if one := d.byName[name]; inside || one.Visibility == job.Public && one.Refused == "" {
			found = append(found, one)
		}
	}
	return found
}

// slimFaas is what SlimFaas shows of them, without their runs. It has no place for one that is refused.
func (d *definitions) slimFaas(inside bool) []slimFaasJob {
	d.mu.RLock()
	defer d.mu.RUnlock()
	shown := []slimFaasJob{}
	for _, name := range slices.Sorted(maps.Keys(d.byName)) {
		if one := d.byName[name]; one.Refused == "" && (inside || one.Visibility == job.Public) {
			shown = append(shown, d.shown[name])
		}
	}
	return shown
}
