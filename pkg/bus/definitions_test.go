package bus

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// definitionsSeen is what a reader was told: the generation of each job.
type definitionsSeen struct {
	mu      sync.Mutex
	known   map[string]string
	applied uint64
}

func (s *definitionsSeen) ApplyDefinition(d job.Definition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[d.Name] = d.Generation
}

func (s *definitionsSeen) RemoveDefinition(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, name)
}

func (s *definitionsSeen) AppliedDefinitions(revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = revision
}

func (s *definitionsSeen) has(revision uint64, want map[string]string) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.applied >= revision && maps.Equal(s.known, want)
	}
}

func openDefinitions(t *testing.T, b *Bus) *Definitions {
	t.Helper()
	definitions, err := b.OpenDefinitions(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	return definitions
}

func putDefinition(t *testing.T, d *Definitions, name, generation string) uint64 {
	t.Helper()
	revision, err := d.Put(within(t, patience), job.Definition{Name: name, Generation: generation, Template: []byte(`{"spec":{}}`)})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestDefinitionsAreShared(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	reader := connectOnly(t, server.URL())
	awaited := make(chan *Definitions, 1)
	go func() {
		d, err := reader.AwaitDefinitions(within(t, patience))
		if err != nil {
			t.Error(err)
		}
		awaited <- d
	}()
	d := openDefinitions(t, b)
	putDefinition(t, d, "a", "1")
	putDefinition(t, d, "b", "1")
	seen := &definitionsSeen{known: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	follower := next(t, awaited)
	go func() { ended <- follower.Watch(ctx, seen) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	last := putDefinition(t, d, "a", "2")
	if err := d.Delete(within(t, patience), "b"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is told", seen.has(last, map[string]string{"a": "2"}))
	if _, err := d.kv.PutString(within(t, patience), "c", `{"name":"other"}`); err != nil {
		t.Fatal(err)
	}
	all, err := d.Load(within(t, patience))
	if err != nil || len(all) != 1 || string(all["a"].Template) != `{"spec":{}}` {
		t.Errorf("loaded %+v, %v", all, err)
	}
	if _, err := d.Put(within(t, patience), job.Definition{Name: "no.name"}); err == nil {
		t.Error("a wrong name is stored")
	}
}

// As for the functions: a watch that the server has lost is noticed by the announced revision.
func TestStaleWatchOfDefinitions(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	d := openDefinitions(t, b)
	seen := &definitionsSeen{known: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	follower := openDefinitions(t, connectOnly(t, server.URL()))
	go func() { ended <- follower.Watch(ctx, seen) }()
	defer func() {
		cancel()
		<-ended
	}()
	first := putDefinition(t, d, "a", "1")
	eventually(t, "it is told", seen.has(first, map[string]string{"a": "1"}))
	cutWatches(t, b, b.DefinitionsBucket())
	last := putDefinition(t, d, "a", "2")
	if err := b.AnnounceDefinitions(last); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader is current", seen.has(last, map[string]string{"a": "2"}))
}
