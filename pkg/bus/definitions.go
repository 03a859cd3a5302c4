package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/job"
)

// Definitions is the bucket in which the leading jobrunner shares the definitions.
type Definitions struct {
	bus *Bus
	kv  jetstream.KeyValue
}

// OpenDefinitions makes the bucket if it is not there. It is for the jobrunner.
func (b *Bus) OpenDefinitions(ctx context.Context) (*Definitions, error) {
	kv, err := b.ensureBucket(ctx, jetstream.KeyValueConfig{Bucket: b.DefinitionsBucket(), Description: "The definition of each job"})
	if err != nil {
		return nil, err
	}
	return &Definitions{bus: b, kv: kv}, nil
}

// AwaitDefinitions waits for the bucket, which the jobrunner makes.
func (b *Bus) AwaitDefinitions(ctx context.Context) (*Definitions, error) {
	kv, err := b.awaitBucket(ctx, b.DefinitionsBucket())
	if err != nil {
		return nil, err
	}
	return &Definitions{bus: b, kv: kv}, nil
}

// Put stores a definition and returns the bucket's new revision.
func (d *Definitions) Put(ctx context.Context, definition job.Definition) (revision uint64, err error) {
	if err = job.ValidName(definition.Name); err == nil {
		revision, err = putJSON(ctx, d.kv, definition.Name, definition)
	}
	if err != nil {
		return 0, fmt.Errorf("store the definition of job %q: %w", definition.Name, err)
	}
	return revision, nil
}

// Delete removes one that is gone.
func (d *Definitions) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := d.kv.Delete(ctx, name); err != nil {
		return fmt.Errorf("remove the definition of job %q: %w", name, err)
	}
	return nil
}

// DefinitionsReader is told what the bucket holds, from one goroutine.
type DefinitionsReader interface {
	ApplyDefinition(job.Definition)
	RemoveDefinition(name string)
	AppliedDefinitions(revision uint64)
}

// Watch tells reader every definition and each change until ctx ends.
func (d *Definitions) Watch(ctx context.Context, reader DefinitionsReader) error {
	return d.bus.watch(ctx, watched{
		what: "the definitions of jobs", kv: d.kv, announced: d.bus.DefinitionsRevisionSubject(),
		apply: func(name string, value []byte, _ uint64) error {
			var definition job.Definition
			if err := json.Unmarshal(value, &definition); err != nil || definition.Name != name {
				return errors.Join(err, errors.New("not the definition of this job"))
			}
			reader.ApplyDefinition(definition)
			return nil
		},
		remove: reader.RemoveDefinition, applied: reader.AppliedDefinitions,
	})
}

// Load returns all of them, by name.
func (d *Definitions) Load(ctx context.Context) (map[string]job.Definition, error) {
	var found *definitionsLoader
	err := loadAll(ctx, func(ctx context.Context, done func()) error {
		found = &definitionsLoader{map[string]job.Definition{}, done}
		return d.Watch(ctx, found)
	})
	if err != nil {
		return nil, fmt.Errorf("read the definitions of jobs: %w", err)
	}
	return found.definitions, nil
}

// definitionsLoader collects what a watch tells first, then ends it.
type definitionsLoader struct {
	definitions map[string]job.Definition
	done        func()
}

func (l *definitionsLoader) ApplyDefinition(d job.Definition) { l.definitions[d.Name] = d }
func (l *definitionsLoader) RemoveDefinition(name string)     { delete(l.definitions, name) }
func (l *definitionsLoader) AppliedDefinitions(uint64)        { l.done() }

// AnnounceDefinitions tells readers of the definitions bucket how new it is.
func (b *Bus) AnnounceDefinitions(revision uint64) error {
	if err := b.sendJSON(b.DefinitionsRevisionSubject(), revision); err != nil {
		return fmt.Errorf("announce the revision of the definitions: %w", err)
	}
	return nil
}
