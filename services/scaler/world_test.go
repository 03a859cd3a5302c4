package scaler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// world is a model of all that a Scaler works with, for one function: the test decides what happens next, and when.
type world struct {
	t      *rapid.T
	scaler *Scaler
	spec   function.Function
	now    time.Time

	// The cluster: what it has, and what it has said so far.
	count  int
	pods   []function.Pod
	births int
	seen   function.Workload
	asked  []*modelRequest

	// NATS: the states that were stored by revision, and the changes under way.
	away     bool
	revision uint64
	bucket   map[uint64]modelState
	changes  []*modelShare
	depth    uint64

	senders []*modelSender
}

type modelState struct {
	endpoints []function.Endpoint
}

type modelRequest struct {
	request
	done bool
}

type modelShare struct {
	share
	stored bool
}

type modelSender struct {
	name     string
	revision uint64
	calls    map[string]int // by address
	called   bool
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), bucket: map[uint64]modelState{0: {}}}
	w.spec = function.Defaults("f", rapid.SampledFrom([]string{function.KindDeployment, function.KindStatefulSet}).Draw(t, "kind"))
	w.spec.ReplicasMin = rapid.IntRange(0, 2).Draw(t, "least")
	w.spec.ReplicasAtStart = rapid.IntRange(1, 3).Draw(t, "at start")
	w.spec.TimeoutSecondBeforeSetReplicasMin = rapid.SampledFrom([]int{0, 1, 5}).Draw(t, "timeout")
	if rapid.Bool().Draw(t, "scales") {
		w.spec.Scale = &function.Scale{ReplicaMax: 4, ScrapeIntervalMilliseconds: 1000, Triggers: []function.Trigger{
			{MetricType: rapid.SampledFrom([]string{function.MetricAverageValue, function.MetricValue}).Draw(t, "trigger"), MetricName: function.FigureInFlight, Threshold: 1},
			{MetricType: function.MetricAverageValue, MetricName: function.FigureQueueDepth, Threshold: 0.5},
		}}
		w.spec.Scale.Behavior.ScaleDown.StabilizationWindowSeconds = rapid.SampledFrom([]int{0, 3}).Draw(t, "window")
	}
	w.scaler = New(Config{DrainTimeout: time.Hour}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	w.scaler.trustedFrom = w.now.Add(w.scaler.timing.settle)
	for i := range 2 {
		w.senders = append(w.senders, &modelSender{name: fmt.Sprint("sender-", i), calls: map[string]int{}})
	}
	w.resize(rapid.IntRange(0, 4).Draw(t, "deployed"), nil)
	w.observe(t)
	return w
}

// did takes what the scaler wants done after an event.
func (w *world) did() {
	for _, r := range w.scaler.requests {
		w.asked = append(w.asked, &modelRequest{request: r})
	}
	w.scaler.requests = nil
	for _, change := range w.scaler.nextShares(w.now) {
		w.changes = append(w.changes, &modelShare{share: change})
	}
}

// advance lets a time pass in which senders report and depths are read as often as they do.
func (w *world) advance(d time.Duration) {
	w.now = w.now.Add(d)
	depths, err := map[string]uint64{}, error(nil)
	if w.depth > 0 {
		depths[w.spec.Name] = w.depth
	}
	if w.away {
		err = errors.New("NATS is away")
	} else {
		for _, sender := range w.senders {
			w.send(sender)
		}
	}
	w.scaler.onDepths(depths, err, w.now)
	w.scaler.onTick(w.now)
	w.did()
}

func (w *world) pass(t *rapid.T) {
	w.advance(time.Duration(rapid.SampledFrom([]int{10, 500, 1000, 2500}).Draw(t, "ms")) * time.Millisecond)
}

func (w *world) sender(t *rapid.T) *modelSender {
	return rapid.SampledFrom(w.senders).Draw(t, "sender")
}

// read lets a sender apply one more revision of the bucket.
func (w *world) read(t *rapid.T) {
	if sender := w.sender(t); !w.away && sender.revision < w.revision {
		sender.revision++
	}
}

func (w *world) report(t *rapid.T) {
	if sender := w.sender(t); !w.away {
		w.send(sender)
	}
}

func (w *world) send(sender *modelSender) {
	report := bus.Activity{Sender: sender.name, Revision: sender.revision, Functions: map[string]bus.FunctionActivity{}}
	entry := bus.FunctionActivity{Endpoints: map[string]int{}}
	for address, calls := range sender.calls {
		entry.InFlight += calls
		entry.Endpoints[address] = calls
	}
	if entry.InFlight > 0 || sender.called {
		report.Functions[w.spec.Name] = entry
	}
	sender.called = false
	w.scaler.onActivity(report, w.now)
	w.did()
}

func (w *world) begin(t *rapid.T) {
	sender := w.sender(t)
	if known := w.bucket[sender.revision].endpoints; len(known) > 0 {
		sender.calls[rapid.SampledFrom(known).Draw(t, "endpoint").Address]++
		sender.called = true
	} else if !w.away {
		w.scaler.touch(w.spec.Name, w.now) // a wake
		w.did()
	}
}

func (w *world) end(t *rapid.T) {
	sender := w.sender(t)
	if len(sender.calls) == 0 {
		return
	}
	address := rapid.SampledFrom(slices.Sorted(maps.Keys(sender.calls))).Draw(t, "address")
	if sender.calls[address]--; sender.calls[address] == 0 {
		delete(sender.calls, address)
	}
}

func (w *world) queue(t *rapid.T) { w.depth = rapid.Uint64Range(0, 1).Draw(t, "depth") }

func (w *world) observe(*rapid.T) {
	w.seen = function.Workload{Function: w.spec, Replicas: w.count, Pods: slices.Clone(w.pods)}
	w.scaler.observe(w.seen, w.now)
	w.did()
}

func (w *world) carryOut(t *rapid.T) {
	for _, r := range w.asked {
		if !r.done {
			r.done = true
			w.endFor(t, r.request)
			return
		}
	}
}

func (w *world) answer(t *rapid.T) {
	if len(w.asked) > 0 && w.asked[0].done {
		w.answered(nil)
	}
}

func (w *world) fail(*rapid.T) {
	if len(w.asked) > 0 && !w.asked[0].done {
		w.answered(errors.New("the cluster is away"))
	}
}

func (w *world) answered(err error) {
	r := w.asked[0]
	w.asked = w.asked[1:]
	w.scaler.onSet(r.request, err, w.now)
	w.did()
}

func (w *world) store(*rapid.T) {
	for _, change := range w.changes {
		if !change.stored && !w.away {
			change.stored = true
			w.revision++
			w.bucket[w.revision] = modelState{endpoints: change.state.Endpoints}
			change.revision = w.revision
			return
		}
	}
}

// shareAnswered answers a change; while NATS is away with an error, whether the change has happened or not.
func (w *world) shareAnswered(*rapid.T) {
	if len(w.changes) == 0 || !w.changes[0].stored && !w.away {
		return
	}
	change := w.changes[0]
	w.changes = w.changes[1:]
	if w.away {
		change.err = errors.New("NATS is away")
	}
	w.scaler.onShared(change.share, w.now)
	w.did()
}

func (w *world) toggleNATS(t *rapid.T) {
	if w.away {
		w.up(t)
	} else {
		w.away = true
	}
}

func (w *world) up(*rapid.T) {
	if w.away {
		w.away = false
		w.scaler.onReconnect(w.now)
		w.did()
	}
}

// flush brings everything up to date that is under way.
func (w *world) flush() {
	for len(w.changes) > 0 {
		w.store(w.t)
		w.shareAnswered(w.t)
	}
	for len(w.asked) > 0 {
		w.carryOut(w.t)
		w.answered(nil)
	}
	w.vanishAll()
	for i := range w.pods {
		w.pods[i].Ready = true
	}
	w.observe(w.t)
	for _, sender := range w.senders {
		sender.revision = w.revision
	}
}
