package bus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/job"
)

// awaitLook is the pause after which Await looks at a record although nothing was heard of it.
const awaitLook = 2 * time.Second

// Await returns the record once it is as wanted, or as it is when ctx ends; found is false if there is none. It waits for one that is not there yet.
// The error is that of Get.
func (r *Runs) Await(ctx context.Context, definition, id string, wanted func(job.Run) bool) (run job.Run, found bool, err error) {
	changes := make(chan struct{}, 1)
	if _, err := r.subject(definition, id); err != nil {
		return job.Run{}, false, nil // nothing can be under such a name
	}
	stop, err := r.bus.subscribe(r.bus.RunRevisionSubject(definition, id), func(*nats.Msg) {
		select {
		case changes <- struct{}{}:
		default: // it will be looked at
		}
	})
	if err != nil {
		return job.Run{}, false, fmt.Errorf("wait for run %s of %s: %w", id, definition, err)
	}
	defer stop()
	look := time.NewTicker(awaitLook)
	defer look.Stop()
	for known := false; ; {
		newest, revision, err := r.Get(ctx, definition, id)
		if err == nil {
			run, found, known = newest, revision > 0, true
		}
		switch {
		case err != nil && (ctx.Err() == nil || !known): // it has been repeated for long enough
			return job.Run{}, false, err
		case found && wanted(run):
			return run, true, nil
		}
		select {
		case <-changes:
		case <-look.C:
		case <-ctx.Done():
			return run, found, nil
		}
	}
}

// RunsReader is told what the bucket holds, from one goroutine.
type RunsReader interface {
	ApplyRun(run job.Run, revision uint64)
	// RemoveRun says that the record is gone. ApplyRun may follow at once with an older one, of a lower revision than before: then the bucket was rolled back.
	RemoveRun(definition, id string)
	// AppliedRuns says that everything up to the revision has been told.
	AppliedRuns(revision uint64)
}

// Watch tells reader every record and each change until ctx ends, as current as it can be. A record that cannot be read is passed over, with a notice.
func (r *Runs) Watch(ctx context.Context, reader RunsReader) error {
	remove := func(key string) {
		if definition, id, ok := strings.Cut(key, "."); ok {
			reader.RemoveRun(definition, id)
		}
	}
	return r.bus.watch(ctx, watched{
		what: "the runs", kv: r.kv, announced: r.bus.AllRunRevisions(),
		apply: func(key string, value []byte, revision uint64) error {
			run, err := parseRun(key, value)
			if err == nil {
				reader.ApplyRun(run, revision)
			}
			return err
		},
		remove: remove, rolledBack: remove, applied: reader.AppliedRuns,
	})
}
