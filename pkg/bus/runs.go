package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/job"
)

// ErrUnreadable says that what is stored under the key of a run is no record of it.
var ErrUnreadable = errors.New("not the record of this run")

// maxRunHeader is room for the header of the message that a record travels in.
const maxRunHeader = 4 << 10

// Runs is the bucket of run records. Each is written by compare-and-set alone.
type Runs struct {
	bus *Bus
	kv  jetstream.KeyValue
}

// OpenRuns makes the bucket if it is not there. It is for the jobrunner.
func (b *Bus) OpenRuns(ctx context.Context) (*Runs, error) {
	kv, err := b.ensureBucket(ctx, jetstream.KeyValueConfig{
		Bucket: b.RunsBucket(), Description: "The record of each run of a job", LimitMarkerTTL: removedTTL,
	})
	if err != nil {
		return nil, err
	}
	return &Runs{bus: b, kv: kv}, nil
}

// AwaitRuns waits for the bucket, which the jobrunner makes.
func (b *Bus) AwaitRuns(ctx context.Context) (*Runs, error) {
	kv, err := b.awaitBucket(ctx, b.RunsBucket())
	if err != nil {
		return nil, err
	}
	return &Runs{bus: b, kv: kv}, nil
}

// Put creates the record (revision 0) or replaces the one of that revision, and returns the new revision. While NATS does not answer it repeats for as long as a publish is
// repeated, and is stored once. The error wraps ErrOvertaken if the record is not of that revision any more, in which case it has to be read again: it may even be this
// one that was stored, and another one after it. It wraps ErrTooLarge for a record that is larger than a message can be, of which nothing is stored. After any other error it may be
// stored or not.
func (r *Runs) Put(ctx context.Context, run job.Run, revision uint64) (uint64, error) {
	next, err := r.put(ctx, run, revision)
	if err != nil {
		return 0, fmt.Errorf("store the record of run %s of %s: %w", run.ID, run.Definition, err)
	}
	r.announce(run.Definition, run.ID, next)
	return next, nil
}

func (r *Runs) put(ctx context.Context, run job.Run, revision uint64) (next uint64, err error) {
	subject, err := r.subject(run.Definition, run.ID)
	if err != nil {
		return 0, err
	}
	value, err := json.Marshal(run)
	if err != nil {
		return 0, err
	}
	if most := r.bus.maxPayload.Load() - maxRunHeader; most > 0 && int64(len(value)) > most {
		return 0, fmt.Errorf("%w: it has %d bytes, and NATS takes %d; give the job or its request fewer or shorter values", ErrTooLarge, len(value), most)
	}
	return r.write(ctx, &nats.Msg{Subject: subject, Header: nats.Header{}, Data: value}, revision)
}

// write stores a message behind the one of that revision. With revision 0 it may be the mark of a removed record.
func (r *Runs) write(ctx context.Context, msg *nats.Msg, revision uint64) (next uint64, err error) {
	ctx, cancel := r.bus.patiently(ctx)
	defer cancel()
	for place := revision; ; {
		next, err = r.bus.publishBehind(ctx, msg, place)
		if !errors.Is(err, ErrOvertaken) {
			return next, err
		}
		last, lookErr := r.last(ctx, msg.Subject)
		switch gone := errors.Is(lookErr, errNoMessage); {
		case lookErr != nil && !gone:
			return 0, lookErr
		case !gone && last.is(msg): // an answer was lost
			return last.Sequence, nil
		case gone && revision == 0: // the mark has gone just now
			place = 0
		case !gone && revision == 0 && last.removed():
			place = last.Sequence
		default:
			return 0, err
		}
	}
}

// subject is where the record is.
func (r *Runs) subject(definition, id string) (string, error) {
	if err := errors.Join(job.ValidName(definition), job.ValidRunID(id)); err != nil {
		return "", err
	}
	return valueSubject(r.bus.RunsBucket(), definition+"."+id), nil
}

// last reads the newest message of a record as the leading server has it: the record, or the mark of a removed one.
func (r *Runs) last(ctx context.Context, subject string) (*storedMessage, error) {
	return r.bus.findAtLeader(ctx, valuesStream(r.bus.RunsBucket()), lookup{Last: subject})
}

// announce tells who follows how new the record is. It is a hint: if it is lost, the next one tells, or the reader looks by itself.
func (r *Runs) announce(definition, id string, revision uint64) {
	_ = r.bus.sendJSON(r.bus.RunRevisionSubject(definition, id), revision)
}

// Get reads one record as the leading server has it; revision is 0 if there is none.
func (r *Runs) Get(ctx context.Context, definition, id string) (run job.Run, revision uint64, err error) {
	subject, err := r.subject(definition, id)
	if err != nil {
		return job.Run{}, 0, nil //nolint:nilerr // nothing can be under such a name
	}
	msg, err := r.last(ctx, subject)
	switch {
	case errors.Is(err, errNoMessage), err == nil && msg.removed():
		return job.Run{}, 0, nil
	case err == nil:
		run, err = parseRun(definition+"."+id, msg.Data)
	}
	if err != nil {
		return job.Run{}, 0, fmt.Errorf("read the record of run %s of %s: %w", id, definition, err)
	}
	return run, msg.Sequence, nil
}

// parseRun reads the value of a key.
func parseRun(key string, value []byte) (run job.Run, err error) {
	if err := json.Unmarshal(value, &run); err != nil || run.Definition+"."+run.ID != key {
		return job.Run{}, errors.Join(err, ErrUnreadable)
	}
	return run, nil
}

// List tells the records of one job, or of all with "", until each returns false, in the order of their last changes and not all at once. One that changes meanwhile may be
// told twice, as it was and as it is, and the newest ones may be missing for a moment.
func (r *Runs) List(ctx context.Context, definition string, each func(job.Run) bool) error {
	keys := ">"
	switch {
	case definition == "":
	case job.ValidName(definition) == nil:
		keys = definition + ".*"
	default:
		return nil // nothing can be under such a name
	}
	bucket := r.bus.RunsBucket()
	_, err := r.bus.scan(ctx, valuesStream(bucket), lookup{Next: valueSubject(bucket, keys)}, func(msg *storedMessage) bool {
		if msg.removed() {
			return true
		}
		key := strings.TrimPrefix(msg.Subject, valueSubject(bucket, ""))
		run, err := parseRun(key, msg.Data)
		if err != nil {
			r.bus.notices.tell("value of "+key+" in "+bucket+" is passed over", err)
			return true
		}
		return each(run)
	})
	if err != nil {
		return fmt.Errorf("list the runs: %w", err)
	}
	return nil
}

// Remove deletes a record of that revision; it is no error if it is gone. The error wraps ErrOvertaken if it has changed.
func (r *Runs) Remove(ctx context.Context, definition, id string, revision uint64) error {
	next, err := r.remove(ctx, definition, id, revision)
	if err != nil {
		return fmt.Errorf("remove the record of run %s of %s: %w", id, definition, err)
	}
	if next > 0 {
		r.announce(definition, id, next)
	}
	return nil
}

func (r *Runs) remove(ctx context.Context, definition, id string, revision uint64) (next uint64, err error) {
	subject, err := r.subject(definition, id)
	if err != nil || revision == 0 {
		return 0, err
	}
	// What the library's Purge does, which is repeated with no id and does not say the revision.
	next, err = r.write(ctx, &nats.Msg{Subject: subject, Header: nats.Header{
		headerOperation: {operationPurge}, jetstream.MsgRollup: {jetstream.MsgRollupSubject},
		jetstream.MsgTTLHeader: {strconv.Itoa(int(removedTTL.Seconds())) + "s"},
	}}, revision)
	if !errors.Is(err, ErrOvertaken) {
		return next, err
	}
	if mark, lookErr := r.last(ctx, subject); errors.Is(lookErr, errNoMessage) || lookErr == nil && mark.removed() {
		return 0, nil
	}
	return 0, err
}
