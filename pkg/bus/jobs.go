package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/job"
)

// Defaults of Settings that say nothing.
const (
	defaultJobQueueLimit = 10_000
	// defaultJobAckWait leaves a jobrunner time to make a Job, with what it waits for before it.
	defaultJobAckWait = 60 * time.Second
)

// EnsureJobs makes the stream of job requests, the object store of their output, and the stream of dead letters. It is for the jobrunner.
func (b *Bus) EnsureJobs(ctx context.Context) error {
	err := b.ensure(ctx, "jobs stream", func(ctx context.Context) error {
		stream, err := b.js.CreateOrUpdateStream(ctx, b.jobsConfig())
		if err != nil {
			return err
		}
		b.useJobs(stream)
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.ensureLogs(ctx); err != nil {
		return err
	}
	return b.EnsureDead(ctx)
}

// AwaitJobs waits for the jobs stream, which the jobrunner makes, for as long as ctx lasts.
func (b *Bus) AwaitJobs(ctx context.Context) error {
	return b.awaitStream(ctx, "jobs stream", b.JobsStream(), b.useJobs)
}

func (b *Bus) useJobs(stream jetstream.Stream) { b.jobs.Store(&stream) }

func (b *Bus) jobsStream(ctx context.Context) (jetstream.Stream, error) {
	return b.handle(ctx, &b.jobs, b.JobsStream())
}

func (b *Bus) jobsConfig() jetstream.StreamConfig {
	limit := b.config.Settings.JobQueueLimit
	if limit == 0 {
		limit = defaultJobQueueLimit
	}
	return jetstream.StreamConfig{
		Name:                 b.JobsStream(),
		Description:          "Requests of jobs that wait for their Job, one subject each",
		Subjects:             []string{b.AllJobs()},
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Replicas:             b.config.Replicas,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    limit,
		MaxBytes:             b.config.Settings.storage().jobs,
		MaxMsgSize:           int32(min(b.maxCallSize(), job.MaxBody+maxCallHeader)),
		MaxConsumers:         maxConsumers,
		Duplicates:           b.config.Settings.duplicateWindow(),
		AllowDirect:          true,
	}
}

func (b *Bus) jobAckWait() time.Duration {
	if b.config.Settings.AckWait > 0 {
		return b.config.Settings.AckWait
	}
	return defaultJobAckWait
}

// PublishJob queues a request, with the patience and the errors of PublishCall, and returns its place in the stream. The definition must be the name of a job, not
// an alias, and the RunID must be set. The same request with the same RunID is stored once within the duplicate window; another request with it is stored too, so that whoever
// takes it can say that the id is in use. An error that wraps ErrBadMessage says what is wrong with the request.
func (b *Bus) PublishJob(ctx context.Context, m job.Message) (sequence uint64, err error) {
	msg, err := b.encodeJob(m)
	if err != nil {
		return 0, fmt.Errorf("queue a run of %s: %w", m.Definition, err)
	}
	ack, err := b.publishAlone(ctx, msg, "run-"+m.Definition+"."+m.RunID+"-"+job.RequestHash(m))
	if err != nil {
		return 0, fmt.Errorf("queue run %s of %s: %w", m.RunID, m.Definition, err)
	}
	return ack.Sequence, nil
}

// NewJobConsumer returns a Consumer of the job's requests, which never has more than most of them asked for. Delivery.Job says what they are. A word that is a
// wildcard cannot be asked for by itself: Open refuses it.
func (b *Bus) NewJobConsumer(definition string, most int) *Consumer {
	c := b.newConsumer("requests of "+definition, b.JobsStream(), most, jetstream.ConsumerConfig{
		Durable:           CallsConsumer(definition),
		FilterSubject:     b.JobSubject(definition),
		AckWait:           b.jobAckWait(),
		MaxAckPending:     maxAckPending,
		InactiveThreshold: inactiveThreshold,
	})
	c.decode, c.dated = (*Delivery).readJob, true
	if strings.ContainsAny(definition, "*>") {
		c.refused = fmt.Errorf("%w: the subject %s stands for more than one job", ErrBadMessage, b.JobSubject(definition))
	}
	return c
}

// BuryJob keeps the request as a dead letter, repeating until ctx ends, then takes it out of the queue. A request that is buried twice is kept once.
func (b *Bus) BuryJob(ctx context.Context, d *Delivery, reason, detail string) error {
	if err := b.keepDead(ctx, d, reason, detail); err != nil {
		return err
	}
	return d.Done(ctx)
}

// BuryJobAt is BuryJob of the request at a place in the queue that nobody has been given; it is no error if it is not there any more.
func (b *Bus) BuryJobAt(ctx context.Context, sequence uint64, reason, detail string) error {
	d, err := b.deliveryAt(ctx, sequence)
	if err != nil || d == nil {
		return err
	}
	if err := b.keepDead(ctx, d, reason, detail); err != nil {
		return err
	}
	return b.DropJob(ctx, sequence)
}

// keepDead stores the dead letter of a request.
func (b *Bus) keepDead(ctx context.Context, d *Delivery, reason, detail string) error {
	death := Death{Reason: reason, Detail: detail, At: time.Now()}
	msg := &nats.Msg{Subject: b.DeadJobSubject(d.job.Definition), Header: deadHeader(d, death), Data: d.message.Data}
	if _, err := b.publish(ctx, msg, "deadjob-"+formatCallID(d.made.UnixMilli(), d.Sequence)); err != nil {
		return fmt.Errorf("store the dead letter of %s: %w", d.name(), err)
	}
	return nil
}

// JobAt returns the request at that place in the queue; ok is false if there is none. One of the last moment may be missing. What is wrong with it is in its Wrong.
func (b *Bus) JobAt(ctx context.Context, sequence uint64) (m job.Message, ok bool, err error) {
	d, err := b.deliveryAt(ctx, sequence)
	if err != nil || d == nil {
		return job.Message{}, false, err
	}
	return d.job, true, nil
}

// deliveryAt is the request at that place as if it had been delivered, but for its handle; nil if there is none, or none that can be read.
func (b *Bus) deliveryAt(ctx context.Context, sequence uint64) (d *Delivery, err error) {
	_, err = b.scan(ctx, b.JobsStream(), lookup{Sequence: sequence, Next: b.AllJobs(), Batch: 1}, func(msg *storedMessage) bool {
		if msg.Sequence == sequence {
			d = &Delivery{bus: b, Sequence: sequence, Accepted: msg.Time, message: &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data}}
		}
		return false
	})
	if err != nil || d == nil {
		return nil, err
	}
	made, err := b.lookUpMade(ctx)
	if err != nil {
		return nil, err
	}
	d.readJob(made)
	return d, nil
}

// DropJob takes a request out of the queue that nobody has been given; it is no error if it is not there any more. A place means another request when the stream
// has been made anew: the caller has seen with ScanJobs what is there.
func (b *Bus) DropJob(ctx context.Context, sequence uint64) error {
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	request := struct {
		Sequence uint64 `json:"seq"`
		NoErase  bool   `json:"no_erase"` // overwriting what is on the disk would cost a lot
	}{sequence, true}
	err := retry(ctx, func(ctx context.Context) error {
		refused := b.command(ctx, "$JS.API.STREAM.MSG.DELETE."+b.JobsStream(), request, &struct{}{})
		if refused == nil {
			return nil
		}
		// The server has several codes for what is not there.
		if _, err := b.find(ctx, b.JobsStream(), lookup{Sequence: sequence}); errors.Is(err, errNoMessage) {
			return nil
		}
		return refused
	})
	if err != nil {
		return fmt.Errorf("drop the request of a job at %d: %w", sequence, err)
	}
	return nil
}

// ScanJobs tells the requests that are queued from that place in the stream on, in their order, until each returns false. It returns the place after the last one. The
// newest ones may be missing for a moment. What is wrong with a request is in its Wrong.
func (b *Bus) ScanJobs(ctx context.Context, from uint64, each func(job.Message) bool) (next uint64, err error) {
	made, err := b.lookUpMade(ctx)
	if err != nil {
		return from, err
	}
	return b.scan(ctx, b.JobsStream(), lookup{Sequence: from, Next: b.AllJobs()}, func(msg *storedMessage) bool {
		m, _ := b.decodeJob(msg, made) // the error is in Wrong
		return each(m)
	})
}

// lookUpMade asks when the jobs stream was made that is there now: the ids of runs may depend on it.
func (b *Bus) lookUpMade(ctx context.Context) (made time.Time, err error) {
	ctx, cancel := b.patiently(ctx)
	defer cancel()
	err = retry(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		stream, err := b.js.Stream(ctx, b.JobsStream())
		if err == nil {
			made = stream.CachedInfo().Created
		}
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("look up the jobs stream: %w", err)
	}
	return made, nil
}

// OnJobs calls handle for each request that is published, from one goroutine, until the returned function is called. It is a hint: some may be missed, and
// some may be refused by the queue.
func (b *Bus) OnJobs(handle func(definition string)) (stop func(), err error) {
	return b.subscribe(b.AllJobs(), func(msg *nats.Msg) {
		if definition, ok := b.JobOf(msg.Subject); ok {
			handle(definition)
		}
	})
}

// JobDepths returns how many requests are queued for each job that has any.
func (b *Bus) JobDepths(ctx context.Context) (map[string]uint64, error) {
	return b.depths(ctx, b.jobsStream, b.AllJobs())
}

// OldestJob returns when the oldest queued request of the job was accepted; ok is false when there is none.
func (b *Bus) OldestJob(ctx context.Context, definition string) (at time.Time, ok bool, err error) {
	return b.oldest(ctx, b.jobsStream, b.JobSubject(definition))
}
