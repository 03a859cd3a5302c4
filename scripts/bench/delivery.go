package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/function"
)

const (
	deliveryHold = 0.7
	deliverySize = 100
	// deliveryPatience bounds one round.
	deliveryPatience = 2 * time.Minute
	// profiledRate is the calls per second that the length of a profile is planned with.
	profiledRate = 15_000
)

// fleet is the functions of a delivery and the calls in flight that each may have.
type fleet struct{ functions, parallel int }

func (f fleet) String() string {
	if f.functions == 1 {
		return fmt.Sprintf("delivery, 1 function, %d in flight", f.parallel)
	}
	return fmt.Sprintf("delivery, %d functions, %d in flight each", f.functions, f.parallel)
}

// names are those of the functions.
func (f fleet) names() []string {
	names := make([]string, f.functions)
	for i := range names {
		names[i] = "f" + strconv.Itoa(i)
	}
	return names
}

// measureDelivery compares the delivery of queued calls with a bare pull loop. The calls are queued while nobody pulls;
// the clock runs from the first call at the backend to the last.
func measureDelivery(ctx context.Context, b *bench) error {
	backend, addresses, err := b.startRole(ctx, roleBackend)
	if err != nil {
		return err
	}
	defer backend.stop()
	for _, f := range []fleet{{1, 32}, {100, 1}} {
		d := delivery{bench: b, fleet: f, backend: addresses[0]}
		if err := d.measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// delivery is one comparison.
type delivery struct {
	bench   *bench
	fleet   fleet
	backend string
	data    string // sluice's folder
	served  string // the folder with the manifests
	bare    *child
	bareURL string
}

func (d *delivery) measure(ctx context.Context) (err error) {
	if d.data, err = d.bench.folder("data"); err != nil {
		return err
	}
	if err := d.writeManifests(); err != nil {
		return err
	}
	folder, err := d.bench.folder("bare")
	if err != nil {
		return err
	}
	var words []string
	if d.bare, words, err = d.bench.startRole(ctx, rolePull, folder, d.backend); err != nil {
		return err
	}
	defer d.bare.stop()
	d.bareURL = words[0]
	rates, err := d.bench.inTurn(ctx, d.fleet.String(), side{"sluice", d.sluice}, side{"bare", d.pullLoop})
	if err != nil {
		return err
	}
	d.bench.addRatio(d.fleet.String(), rates[0], rates[1], deliveryHold)
	return nil
}

func (d *delivery) writeManifests() (err error) {
	manifests := make([]manifest, 0, d.fleet.functions)
	for _, name := range d.fleet.names() {
		manifests = append(manifests, manifest{name, map[string]string{
			function.KeyLocalURL: d.backend, function.KeyNumberParallelRequest: strconv.Itoa(d.fleet.parallel),
		}})
	}
	d.served, err = d.bench.writeManifests(manifests...)
	return err
}

// sluice queues the calls at a sluice without functions, and delivers them with one that has them.
func (d *delivery) sluice(ctx context.Context, round int) (figure, error) {
	unserved, err := d.bench.startSluice(ctx, d.data, "")
	if err != nil {
		return figure{}, err
	}
	err = d.publish(ctx, unserved.nats)
	unserved.child.stop()
	if err != nil {
		return figure{}, err
	}
	if _, err := askBackend(ctx, d.backend, pathReset); err != nil {
		return figure{}, err
	}
	s, err := d.bench.startSluice(ctx, d.data, d.served)
	if err != nil {
		return figure{}, err
	}
	defer s.child.stop()
	length := time.Duration(d.bench.settings.calls/profiledRate) * time.Second
	defer s.profiled(ctx, d.bench, fmt.Sprintf("delivery-%d-%d", d.fleet.functions, round), length)()
	return d.clock(ctx)
}

// pullLoop does the same with the bare loop.
func (d *delivery) pullLoop(ctx context.Context, _ int) (figure, error) {
	if err := d.publish(ctx, d.bareURL); err != nil {
		return figure{}, err
	}
	if _, err := askBackend(ctx, d.backend, pathReset); err != nil {
		return figure{}, err
	}
	if err := d.bare.ask(fmt.Sprintf("start %d %s", d.fleet.parallel, strings.Join(d.fleet.names(), " "))); err != nil {
		return figure{}, err
	}
	f, err := d.clock(ctx)
	return f, errors.Join(err, d.bare.ask("stop"))
}

// clock waits until the backend has had every call and returns the calls per second.
func (d *delivery) clock(ctx context.Context) (figure, error) {
	var counted tally
	var askErr error
	want := int64(d.bench.settings.calls)
	err := waitFor(ctx, deliveryPatience, func() bool {
		counted, askErr = askBackend(ctx, d.backend, pathTally)
		return askErr != nil || counted.Calls >= want
	})
	if askErr != nil {
		return figure{}, askErr
	}
	if err != nil {
		return figure{}, fmt.Errorf("the backend has had %d calls of %d: %w", counted.Calls, want, err)
	}
	took := time.Duration(counted.Last - counted.First)
	return figure{
		rate: float64(counted.Calls-1) / took.Seconds(),
		note: fmt.Sprintf("%d calls in %v", counted.Calls, took.Round(time.Millisecond)),
	}, nil
}

// publish queues the calls, straight to NATS, in turn for each function.
func (d *delivery) publish(ctx context.Context, url string) error {
	conn, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", url, err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	names, body := d.fleet.names(), make([]byte, deliverySize)
	for i := range d.bench.settings.calls {
		if _, err := js.PublishAsync(queue.CallSubject(names[i%len(names)]), body); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		return fmt.Errorf("%d calls were not acknowledged", js.PublishAsyncPending())
	case <-ctx.Done():
		return ctx.Err()
	}
	stream, err := js.Stream(ctx, queue.CallsStream())
	if err != nil {
		return fmt.Errorf("look up the queue: %w", err)
	}
	if stored := stream.CachedInfo().State.Msgs; stored != uint64(d.bench.settings.calls) {
		return fmt.Errorf("%d calls are queued, not %d", stored, d.bench.settings.calls)
	}
	return nil
}
