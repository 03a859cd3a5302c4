package scaler

import (
	"context"

	"github.com/sluicefaas/sluice/pkg/function"
)

// adopt takes over what an earlier leader has shared: generations, decisions and the bucket's revision go on.
func (s *Scaler) adopt(ctx context.Context) error {
	store, err := s.deps.Bus.OpenFunctions(ctx)
	if err != nil {
		return err
	}
	s.sharing.store = store
	reading, done := context.WithCancel(ctx)
	defer done()
	if err := store.Watch(reading, &adopter{scaler: s, done: done}); err != nil {
		return err
	}
	return ctx.Err()
}

// adopter reads the bucket once, then ends its watch.
type adopter struct {
	scaler *Scaler
	done   context.CancelFunc
}

// Apply implements bus.FunctionsReader.
func (a *adopter) Apply(state function.State) {
	name := state.Function.Name
	a.scaler.functions[name] = &tracked{name: name, shared: state, state: state}
	a.scaler.adopted[name] = state.Function
}

// Remove implements bus.FunctionsReader.
func (a *adopter) Remove(name string) {
	delete(a.scaler.functions, name)
	delete(a.scaler.adopted, name)
}

// Applied implements bus.FunctionsReader. A reader at the bucket's revision knows each function as it was adopted.
func (a *adopter) Applied(revision uint64) {
	a.scaler.sharing.revision = revision
	for _, f := range a.scaler.functions {
		f.revision = revision
	}
	a.done()
}
