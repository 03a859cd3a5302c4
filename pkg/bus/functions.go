package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Functions is the bucket in which the scaler shares each function's state.
type Functions struct {
	bus *Bus
	kv  jetstream.KeyValue
}

// OpenFunctions makes the functions bucket if it is not there, waiting for the server for as long as ctx lasts. It is for the scaler.
func (b *Bus) OpenFunctions(ctx context.Context) (*Functions, error) {
	kv, err := b.ensureBucket(ctx, jetstream.KeyValueConfig{
		Bucket: b.FunctionsBucket(), Description: "Specification, replicas and endpoints of each function",
	})
	if err != nil {
		return nil, err
	}
	return &Functions{bus: b, kv: kv}, nil
}

// AwaitFunctions waits for the functions bucket, which the scaler makes, for as long as ctx lasts. It is for those who read it.
func (b *Bus) AwaitFunctions(ctx context.Context) (*Functions, error) {
	kv, err := b.awaitBucket(ctx, b.FunctionsBucket())
	if err != nil {
		return nil, err
	}
	return &Functions{bus: b, kv: kv}, nil
}

// Put stores a state and returns the bucket's new revision.
func (f *Functions) Put(ctx context.Context, state function.State) (revision uint64, err error) {
	revision, err = putJSON(ctx, f.kv, state.Function.Name, state)
	if err != nil {
		return 0, fmt.Errorf("store the state of %s: %w", state.Function.Name, err)
	}
	return revision, nil
}

// Delete removes the state of a function that is gone.
func (f *Functions) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := f.kv.Delete(ctx, name); err != nil {
		return fmt.Errorf("remove the state of %s: %w", name, err)
	}
	return nil
}

// FunctionsReader is told what the bucket holds, from one goroutine.
type FunctionsReader interface {
	// Apply takes the newest state of one function.
	Apply(function.State)
	// Remove says that the function is gone.
	Remove(name string)
	// Applied says that everything up to the revision has been told.
	Applied(revision uint64)
}

// Watch tells reader every state and each change until ctx ends, as current as it can be.
func (f *Functions) Watch(ctx context.Context, reader FunctionsReader) error {
	return f.bus.watch(ctx, watched{
		what: "the functions", kv: f.kv, announced: f.bus.RevisionSubject(),
		apply: func(name string, value []byte, _ uint64) error {
			var state function.State
			if err := json.Unmarshal(value, &state); err != nil || state.Function.Name != name {
				return errors.Join(err, errors.New("not a state of this function"))
			}
			reader.Apply(state)
			return nil
		},
		remove: reader.Remove, applied: reader.Applied,
	})
}

// Load returns all states, by function.
func (f *Functions) Load(ctx context.Context) (map[string]function.State, error) {
	var found *statesLoader
	err := loadAll(ctx, func(ctx context.Context, done func()) error {
		found = &statesLoader{map[string]function.State{}, done}
		return f.Watch(ctx, found)
	})
	if err != nil {
		return nil, fmt.Errorf("read the states of the functions: %w", err)
	}
	return found.states, nil
}

// statesLoader collects what a watch tells first, then ends it.
type statesLoader struct {
	states map[string]function.State
	done   func()
}

func (l *statesLoader) Apply(state function.State) { l.states[state.Function.Name] = state }
func (l *statesLoader) Remove(name string)         { delete(l.states, name) }
func (l *statesLoader) Applied(uint64)             { l.done() }
