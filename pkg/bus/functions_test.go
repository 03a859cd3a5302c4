package bus

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
)

// recorder is a FunctionsReader that remembers what it was told.
type recorder struct {
	t         *testing.T
	mu        sync.Mutex
	replicas  map[string]int // guarded by mu
	revisions []uint64       // guarded by mu
	told      int            // states and removals; guarded by mu
}

func (r *recorder) Apply(state function.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replicas[state.Function.Name] = state.Replicas
	r.told++
}

func (r *recorder) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.replicas, name)
	r.told++
}

func (r *recorder) Applied(revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.revisions); n > 0 && r.revisions[n-1] > revision {
		r.t.Errorf("revision %d was applied after %d", revision, r.revisions[n-1])
	}
	r.revisions = append(r.revisions, revision)
}

// has reports whether the reader knows exactly these functions with these replicas, up to the revision.
func (r *recorder) has(revision uint64, replicas map[string]int) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		n := len(r.revisions)
		return n > 0 && r.revisions[n-1] == revision && maps.Equal(r.replicas, replicas)
	}
}

func openFunctions(t testing.TB, b *Bus) *Functions {
	t.Helper()
	functions, err := b.OpenFunctions(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	return functions
}

// watch tells a recorder of the functions until the test ends.
func watch(t *testing.T, functions *Functions) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &recorder{t: t, replicas: map[string]int{}}
	ended := make(chan error, 1)
	go func() { ended <- functions.Watch(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

func put(t testing.TB, functions *Functions, name string, replicas int) (revision uint64) {
	t.Helper()
	revision, err := functions.Put(within(t, patience), function.State{Function: function.Function{Name: name}, Replicas: replicas})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestReaderIsToldWhatIsThereAndEachChange(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	functions := openFunctions(t, connectOnly(t, server.URL()))
	empty := watch(t, functions)
	eventually(t, "an empty bucket is told", empty.has(0, map[string]int{}))
	put(t, functions, "a", 1)
	last := put(t, functions, "b", 2)
	r := watch(t, openFunctions(t, connectOnly(t, server.URL())))
	eventually(t, "the current state is told", r.has(last, map[string]int{"a": 1, "b": 2}))
	last = put(t, functions, "a", 3)
	eventually(t, "a change is told", r.has(last, map[string]int{"a": 3, "b": 2}))
	if err := functions.Delete(within(t, patience), "b"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a removal is told", r.has(last+1, map[string]int{"a": 3}))
	eventually(t, "the first reader is told the same", empty.has(last+1, map[string]int{"a": 3}))
	if r.told != 4 {
		t.Errorf("the reader was told %d times", r.told)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	functions := openFunctions(t, connectOnly(t, bustest.Start(t).URL()))
	for i := range 600 { // more than the client library's watch buffers
		put(t, functions, fmt.Sprintf("f%d", i), i)
	}
	if err := functions.Delete(within(t, patience), "f1"); err != nil {
		t.Fatal(err)
	}
	states, err := functions.Load(within(t, patience))
	if err != nil || len(states) != 599 || states["f7"].Replicas != 7 {
		t.Fatalf("%d states, %v", len(states), err)
	}
}

func TestLoadWithoutAServer(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	functions := openFunctions(t, connectOnly(t, server.URL()))
	server.Stop()
	if states, err := functions.Load(within(t, quiet)); err == nil {
		t.Errorf("got %v", states)
	}
}

// A value that is no state of its key stops nothing and leaves what was known.
func TestBrokenStatesArePassedOver(t *testing.T) {
	t.Parallel()
	b := connectOnly(t, bustest.Start(t).URL())
	functions := openFunctions(t, b)
	known := put(t, functions, "a", 1)
	r := watch(t, functions)
	eventually(t, "the state is told", r.has(known, map[string]int{"a": 1}))
	for _, value := range []string{"no JSON", `{"function":{"name":"other"}}`, ""} {
		if _, err := functions.kv.PutString(within(t, patience), "a", value); err != nil {
			t.Fatal(err)
		}
	}
	last := put(t, functions, "b", 2)
	eventually(t, "the others are told", r.has(last, map[string]int{"a": 1, "b": 2}))
}
