package jobrunner

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/job"
)

// paused is the API server as a runner sees it that is paused, as a process can be, before it sends a creation.
type paused struct {
	*apiServer
	once    sync.Once
	reached chan struct{}
	goOn    chan struct{}
}

func newPaused(api *apiServer) *paused {
	return &paused{apiServer: api, reached: make(chan struct{}), goOn: make(chan struct{})}
}

func (p *paused) Create(ctx context.Context, manifest json.RawMessage) (*job.Object, error) {
	p.once.Do(func() {
		close(p.reached)
		<-p.goOn
	})
	return p.apiServer.Create(ctx, manifest)
}

func (p *paused) await(t testing.TB) {
	t.Helper()
	select {
	case <-p.reached:
	case <-time.After(long):
		t.Fatal("the first runner does not get there")
	}
}

// pauseAfter pauses a runner after the first step of the kind, until goOn is closed.
func pauseAfter(step job.Step, reached, goOn chan struct{}) func(*Deps) {
	var once sync.Once
	return func(d *Deps) {
		d.Passed = func(passed job.Step, _ job.Run) {
			if passed == step {
				once.Do(func() {
					close(reached)
					<-goOn
				})
			}
		}
	}
}

// TestH1 (jobs.md): the runner is paused, or gone, between the creation and the ack; another one gets the message.
func TestH1(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"paused": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, definition("fib", 2))
			reached, goOn := make(chan struct{}), make(chan struct{})
			first := f.startSynced(pauseAfter(job.Create, reached, goOn))
			f.publish("fib", "r1", "")
			<-reached
			if o := f.api.of("r1"); o == nil || !o.Suspended {
				t.Fatalf("the Job is %+v", o)
			}
			if gone {
				first.cancel()
				close(goOn)
				first.stop()
			}
			f.startSynced()
			f.phase("fib", "r1", job.Running)
			if !gone {
				close(goOn)
			}
			f.drained()
			f.api.end("r1", job.Succeeded)
			f.closed("fib", "r1", job.Succeeded)
			if n := f.api.onceAll(); n != 1 {
				t.Errorf("%d runs had pods", n)
			}
		})
	}
}

// TestH2 (jobs.md): the request comes again, and a paused leader creates its Job, when the run is over and its Job is gone.
func TestH2(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"the paused one goes on": false, "the paused one is gone after its creation": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, definition("fib", 2, func(d *job.Definition) { d.Template = template(`"ttlSecondsAfterFinished":0`, "Never", "x") }))
			late := newPaused(f.api)
			first := f.startSynced(func(d *Deps) { d.Cluster = late })
			f.publish("fib", "r1", `{"args":["1"]}`)
			late.await(t)
			f.startSynced()
			f.phase("fib", "r1", job.Running)
			f.api.end("r1", job.Succeeded)
			before := f.closed("fib", "r1", job.Succeeded)
			eventually(t, "the TTL has removed the Job", func() bool { return f.api.of("r1") == nil })

			created := f.api.count("create")
			if gone {
				f.api.set(func() {
					f.api.fate = func(r request) error {
						if r.verb == "create" {
							first.cancel()
						}
						return nil
					}
				})
			}
			close(late.goOn)
			eventually(t, "the late Job is there, and gone again", func() bool { return f.api.count("create") > created && f.api.of("r1") == nil })

			f.publishRaw("fib", "r1", `{"args":["1"]}`, "again")
			f.drained()
			if n := f.api.onceAll(); n != 1 {
				t.Errorf("%d runs had pods", n)
			}
			after := f.closed("fib", "r1", job.Succeeded)
			if !after.FinishedAt.Equal(before.FinishedAt) || after.JobUID != before.JobUID {
				t.Errorf("the record was\n%+v\nand is\n%+v", before, after)
			}
		})
	}
}

// publishRaw queues a request as any NATS client can, with an id of the message that nobody has used before.
func (f *fixture) publishRaw(definition, id, body, messageID string) *jetstream.PubAck {
	f.t.Helper()
	js, err := jetstream.New(f.raw())
	if err != nil {
		f.t.Fatal(err)
	}
	header := nats.Header{}
	if id != "" {
		header.Set("Job-Run-Id", id)
	}
	if messageID != "" {
		header.Set("Nats-Msg-Id", messageID)
	}
	ack, err := js.PublishMsg(f.t.Context(), &nats.Msg{Subject: "sluice.job." + definition, Header: header, Data: []byte(body)})
	if err != nil {
		f.t.Fatal(err)
	}
	return ack
}

// TestH3 (jobs.md): the same id again, outside the window in which NATS knows it; and a stream that was made anew.
func TestH3(t *testing.T) {
	t.Parallel()
	f := newFixture(t, definition("fib", 2))
	f.api.plan = func(job.Object) plan { return plan{end: job.Succeeded} }
	first := f.startSynced()
	f.publish("fib", "r1", `{"args":["1"]}`)
	before := f.closed("fib", "r1", job.Succeeded)

	f.publishRaw("fib", "r1", ` {"Args": ["1"]} `, "ten-minutes-later")
	f.drained()
	f.publishRaw("fib", "r1", `{"args":["2"]}`, "eleven-minutes-later")
	f.drained()
	if dead := f.dead(); len(dead) != 1 || dead[0].reason != reasonConflict || dead[0].body != `{"args":["2"]}` {
		t.Errorf("the dead letters are %+v", dead)
	}
	if after := f.closed("fib", "r1", job.Succeeded); after.JobUID != before.JobUID {
		t.Errorf("the run has another Job now: %+v", after)
	}
	if n := f.api.onceAll(); n != 1 {
		t.Errorf("%d runs had pods", n)
	}

	// Without an id of its own, a run is named after its place: not by the place alone.
	f.publishRaw("fib", "", "", "")
	eventually(t, "it is over", func() bool { return f.api.onceAll() == 2 })
	f.drained()
	first.stop()
	js, _ := jetstream.New(f.raw())
	if err := js.DeleteStream(t.Context(), "sluice-jobs"); err != nil {
		t.Fatal(err)
	}
	f.startSynced()
	for range 4 {
		f.publishRaw("fib", "", "", "")
	}
	eventually(t, "all of the new stream have run", func() bool { return f.api.onceAll() == 6 })
}

// dead are the dead letters.
type deadLetter struct{ reason, detail, body string }

func (f *fixture) dead() (all []deadLetter) {
	f.t.Helper()
	js, err := jetstream.New(f.raw())
	if err != nil {
		f.t.Fatal(err)
	}
	stream, err := js.Stream(f.t.Context(), "sluice-dead")
	if err != nil {
		f.t.Fatal(err)
	}
	for sequence := uint64(1); ; sequence++ {
		msg, err := stream.GetMsg(f.t.Context(), sequence)
		if err != nil {
			return all
		}
		all = append(all, deadLetter{msg.Header.Get("Sluice-Dead-Reason"), msg.Header.Get("Sluice-Dead-Detail"), string(msg.Data)})
	}
}
