package bus

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// H3 of jobs.md, as far as it is the queue's: the same request is queued once within the window of the stream, and again after it as the same run. Another request with the id of
// a run is queued, so that whoever takes it can refuse it.
func TestH3DuplicateRequests(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL(), func(c *Config) { c.Settings.PublishPatience = 5 * time.Second })
	m := job.Message{Definition: "j", RunID: "k-1", Body: []byte(`{"args":["1"]}`)}
	publishOften := func(m job.Message) uint64 {
		var place uint64
		eventually(t, "the request is queued", func() (queued bool) {
			var err error
			place, err = b.PublishJob(within(t, patience), m)
			return err == nil
		})
		return place
	}
	first := publishOften(m)
	if again := publishOften(m); again != first {
		t.Errorf("the same request is at %d and %d", first, again)
	}
	other := m
	other.Body = []byte(`{"args":["2"]}`)
	if place := publishOften(other); place == first {
		t.Error("another request was taken for the same")
	}
	other.Definition = "i"
	if place := publishOften(other); place == first {
		t.Error("the request of another job was taken for the same")
	}
	done(t, pulled(t, jobConsumer(t, b, "j"), 1)[0])
	var later uint64
	eventually(t, "the window is over", func() bool { later = publishOften(m); return later != first })
	for _, q := range queued(t, b) {
		if q.Sequence == later && q.RunID != m.RunID {
			t.Errorf("it is another run: %+v", q)
		}
	}
}

// H3: after the stream is deleted and made anew, a place in it is that of another run than before, for everybody who looks.
func TestH3StreamThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	c := jobConsumer(t, b, "j")
	publishAs(t, b, &nats.Msg{Subject: "sluice.job.j"})
	first := asked(t, pulled(t, c, 1)[0])
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	if err := b.js.DeleteStream(within(t, patience), b.JobsStream()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss is noticed", func() bool { return c.Silent(time.Now()) })
	other := jobsBus(t, b.config.URL)
	publishAs(t, other, &nats.Msg{Subject: "sluice.job.j"})
	reopen(t, c)
	again := asked(t, pulled(t, c, 1)[0])
	if again.Sequence != first.Sequence || again.RunID == first.RunID {
		t.Errorf("at %d it was run %s, at %d it is %s", first.Sequence, first.RunID, again.Sequence, again.RunID)
	}
	for _, q := range append(queued(t, b), queued(t, other)...) {
		if q.RunID != again.RunID {
			t.Errorf("a scan says %s, a delivery %s", q.RunID, again.RunID)
		}
	}
}

// What a subscription brings that belongs to the stream before is not taken for what is in the new one.
func TestLateDeliveryOfAStreamThatIsGone(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	c := jobConsumer(t, b, "j")
	publishAs(t, b, &nats.Msg{Subject: "sluice.job.j"})
	if err := c.Pull(1); err != nil {
		t.Fatal(err)
	}
	var late *nats.Msg
	for late == nil {
		if msg := next(t, c.Messages()); msg.Subject == "sluice.job.j" {
			late = msg
		}
	}
	want := queued(t, b)[0].RunID
	if err := b.js.DeleteStream(within(t, patience), b.JobsStream()); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureJobs(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	reopen(t, c)
	if d := handled(t, c, late); asked(t, d).RunID != want {
		t.Errorf("it is taken for run %s, want %s", d.ID, want)
	}
}

// Requests that are published while the server is restarted are queued once each.
func TestRequestsAreQueuedOnceAcrossRestarts(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := jobsBus(t, server.URL(), patient)
	const publishers, each = 8, 40
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for i := range each {
				if _, err := b.PublishJob(within(t, unhurried), job.Message{Definition: "j", RunID: fmt.Sprintf("%d-%d", p, i)}); err != nil {
					t.Errorf("%d-%d: %v", p, i, err)
				}
			}
		})
	}
	for range 3 {
		<-time.After(30 * time.Millisecond) // something is on its way at any time
		server.Stop()
		server.Start()
		awaitConnection(t, b)
	}
	all.Wait()
	seen := map[string]int{}
	for _, m := range queued(t, b) {
		seen[m.RunID]++
	}
	if len(seen) != publishers*each {
		t.Errorf("%d runs are queued of %d", len(seen), publishers*each)
	}
	for id, count := range seen {
		if count != 1 {
			t.Errorf("%s is queued %d times", id, count)
		}
	}
}

// Three servers: a request is queued once whichever of them leads, and taken in its order.
func TestJobsOnACluster(t *testing.T) {
	t.Parallel()
	cluster := bustest.StartCluster(t, 3)
	b := jobsBus(t, cluster.URL(), patient, func(c *Config) { c.Replicas = 3 })
	for i := range 20 {
		if i == 10 {
			cluster.StreamLeader(b.JobsStream()).Stop()
		}
		request(t, b, job.Message{Definition: "j", RunID: fmt.Sprint("r", i)})
	}
	var all []job.Message
	eventually(t, "all are told", func() bool { all = queued(t, b); return len(all) == 20 })
	for i, m := range all {
		if m.RunID != fmt.Sprint("r", i) {
			t.Errorf("at %d is %s", i, m.RunID)
		}
	}
	if err := b.DropJob(within(t, patience), all[0].Sequence); err != nil {
		t.Fatal(err)
	}
	if err := b.DropJob(within(t, patience), all[0].Sequence); err != nil {
		t.Fatal(err)
	}
	if m := asked(t, pulled(t, jobConsumer(t, b, "j"), 1)[0]); m.RunID != "r1" {
		t.Errorf("the first one is %s", m.RunID)
	}
}
