package jobrunner

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// long bounds each wait of a test for something that happens soon.
const long = time.Minute

// quick is the timing of most tests.
var quick = timing{
	tick: 20 * time.Millisecond, least: 20 * time.Millisecond, most: 300 * time.Millisecond, quota: 500 * time.Millisecond, relook: 200 * time.Millisecond,
	wake: 50 * time.Millisecond, idle: time.Second, missing: 300 * time.Millisecond, unknown: 400 * time.Millisecond, index: 100 * time.Millisecond, lost: 700 * time.Millisecond,
	stray: 400 * time.Millisecond, retain: 50 * time.Millisecond, spared: time.Hour, recheck: 200 * time.Millisecond, metrics: 20 * time.Millisecond, stuck: 30 * time.Second,
}

// fixture is a NATS server and an API server. A runner runs after start.
type fixture struct {
	t      testing.TB
	server *bustest.Server
	api    *apiServer
	bus    *bus.Bus // of the callers
	runs   *bus.Runs
	config Config
	timing timing
	ends   *ends
	// ackWait is one for which no test waits if it is 0.
	ackWait time.Duration
	// patience is how long NATS may be away before a publish fails, if it is not 0.
	patience time.Duration
	newest   *running // that was started
}

func newFixture(t testing.TB, definitions ...job.Definition) *fixture {
	t.Helper()
	return newFixtureOn(t, bustest.Start(t), definitions...)
}

func newFixtureOn(t testing.TB, server *bustest.Server, definitions ...job.Definition) *fixture {
	t.Helper()
	f := &fixture{
		t: t, server: server, api: newAPIServer(t), timing: quick,
		config: Config{MaxRunning: 1000, CreateRate: 10_000, History: 168 * time.Hour, HistoryLimit: 1000},
	}
	for _, d := range definitions {
		f.api.definitions[d.Name] = d
	}
	f.bus = f.connect("caller")
	if err := f.bus.EnsureJobs(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.runs, err = f.bus.OpenRuns(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.ends = f.listen()
	return f
}

func (f *fixture) connect(name string) *bus.Bus {
	f.t.Helper()
	b, err := bus.Connect(bus.Config{
		URL: f.server.URL(), Replicas: 1, Name: name,
		Settings: bus.Settings{Prefix: "sluice", QueueLimit: 10_000, PublishPatience: cmp.Or(f.patience, 20*time.Second), AckWait: cmp.Or(f.ackWait, 10*time.Minute)},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(b.Close)
	return b
}

// running is a runner with what belongs to it.
type running struct {
	*Runner
	f        *fixture
	registry *prometheus.Registry
	logs     *logs
	cancel   context.CancelFunc
	steps    atomic.Int64 // that were passed, as far as a test counts them
	// stop ends it and waits for that.
	stop func()
}

// start runs a runner until the test ends or stop is called.
func (f *fixture) start(edits ...func(*Deps)) *running {
	f.t.Helper()
	r := &running{f: f, registry: prometheus.NewRegistry(), logs: &logs{}}
	deps := Deps{Bus: f.connect("jobrunner"), Cluster: f.api, Registry: r.registry, Logger: zerolog.New(r.logs), Name: fmt.Sprintf("jobrunner-%d", time.Now().UnixNano())}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, f.newest = cancel, r
	for _, edit := range edits {
		edit(&deps)
	}
	r.Runner = New(f.config, deps)
	r.timing = f.timing
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("Run returned %v", err)
		}
	})
	f.t.Cleanup(r.stop)
	return r
}

// startSynced is start, and waits until the runner has shared the definitions and takes requests.
func (f *fixture) startSynced(edits ...func(*Deps)) *running {
	f.t.Helper()
	r := f.start(edits...)
	select {
	case <-r.Synced():
	case <-time.After(long):
		f.t.Fatal("not synced")
	}
	eventually(f.t, "the runner is ready", func() (ready bool) {
		r.inside(func(time.Time) { ready = r.ready() })
		return ready
	})
	return r
}

// inside runs look where the runner's state may be looked at.
func (r *running) inside(look func(now time.Time)) {
	done := make(chan struct{})
	if r.do(func(now time.Time) { look(now); close(done) }) {
		select {
		case <-done:
		case <-r.done:
		}
	}
}

// publish queues a request, as a gateway would, and returns its place.
func (f *fixture) publish(definition, id, body string) uint64 {
	f.t.Helper()
	sequence, err := f.bus.PublishJob(f.t.Context(), job.Message{Definition: definition, RunID: id, Body: []byte(body)})
	if err != nil {
		f.t.Fatal(err)
	}
	return sequence
}

// run is the record of a run, nil if there is none.
func (f *fixture) run(definition, id string) *job.Run {
	f.t.Helper()
	run, revision, err := f.runs.Get(f.t.Context(), definition, id)
	if err != nil {
		f.t.Fatal(err)
	}
	if revision == 0 {
		return nil
	}
	return &run
}

// await waits for a record that is as wanted.
func (f *fixture) await(definition, id, what string, wanted func(job.Run) bool) job.Run {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), long)
	defer cancel()
	run, found, err := f.runs.Await(ctx, definition, id, wanted)
	if err != nil || !found || !wanted(run) {
		f.t.Fatalf("run %s is not %s: %v, found %v, %s/%s %q, ending %+v, closed %v", id, what, err, found, run.Phase, run.Reason, run.Message, run.Ending, run.Closed)
	}
	return run
}

func (f *fixture) phase(definition, id string, phase job.Phase) job.Run {
	f.t.Helper()
	return f.await(definition, id, string(phase), func(r job.Run) bool { return r.Phase == phase })
}

func (f *fixture) closed(definition, id string, phase job.Phase) job.Run {
	f.t.Helper()
	return f.await(definition, id, string(phase)+" and closed", func(r job.Run) bool { return r.Phase == phase && r.Closed })
}

// drained waits until the queue is empty.
func (f *fixture) drained() {
	f.t.Helper()
	eventually(f.t, "the queue is empty", func() bool {
		depths, err := f.bus.JobDepths(f.t.Context())
		return err == nil && len(depths) == 0
	})
}

// cancel ends a run as a gateway does.
func (f *fixture) cancel(definition, id string) {
	f.t.Helper()
	eventually(f.t, "the run is cancelled", func() bool {
		run, revision, err := f.runs.Get(f.t.Context(), definition, id)
		if err != nil || revision == 0 {
			return false
		}
		_, err = f.runs.Put(f.t.Context(), run.Cancel(time.Now(), "a person"), revision)
		return err == nil
	})
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	within(t, long, what, condition)
}

func within(t testing.TB, d time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(d)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen that %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// never fails if the condition holds at any time within d.
func never(t testing.TB, d time.Duration, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		if condition() {
			t.Fatalf("it happened that %s", what)
		}
	}
}

// definition is one whose Jobs have one pod with one container.
func definition(name string, parallel int, edits ...func(*job.Definition)) job.Definition {
	d := job.Definition{
		Name: name, Source: "CronJob/" + name, Generation: "g1", Visibility: job.Public, Parallel: parallel, StartDeadline: 600,
		Overrides: job.Overrides{OnExceed: job.Reject, MaxTTL: 86400, MaxBackoffLimit: 6},
		Logs:      job.Logs{Save: "OnFailure", TailLines: 100, MaxBytes: 1 << 20},
		Template:  template(`"ttlSecondsAfterFinished":60`, "Never", "example/"+name),
	}
	for _, edit := range edits {
		edit(&d)
	}
	return d
}

func template(fields, restart, image string) json.RawMessage {
	if fields != "" {
		fields += ","
	}
	return json.RawMessage(fmt.Sprintf(
		`{"spec":{%s"template":{"spec":{"restartPolicy":%q,"containers":[{"name":"main","image":%q}]}}}}`, fields, restart, image))
}

// ends counts what is announced of runs.
type ends struct {
	mu    sync.Mutex
	moves map[string][]string // guarded by mu: phases by run
}

func (f *fixture) listen() *ends {
	f.t.Helper()
	e := &ends{moves: map[string][]string{}}
	conn := f.raw()
	if _, err := conn.Subscribe("sluice.jobstate.>", func(msg *natsMsg) {
		var move bus.RunMove
		if json.Unmarshal(msg.Data, &move) == nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.moves[move.RunID] = append(e.moves[move.RunID], string(move.Phase)+"/"+move.Reason)
		}
	}); err != nil {
		f.t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		f.t.Fatal(err)
	}
	return e
}

func (e *ends) of(id string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string{}, e.moves[id]...)
}

// logs keeps lines.
type logs struct {
	mu    sync.Mutex
	lines bytes.Buffer // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

// with returns the lines that have all the words.
func (l *logs) with(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.lines.String()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}
