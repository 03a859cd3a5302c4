package bus

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// A request is found at its place as a delivery has it, also one that chose no id, and none where another one was or will be.
func TestJobAt(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	places := []uint64{
		request(t, b, job.Message{Definition: "j", RunID: "r1", Path: "/a", Body: []byte(`{"args":["1"]}`)}),
		publishAs(t, b, &nats.Msg{Subject: "sluice.job.j", Data: []byte("no JSON")}),
		publishAs(t, b, &nats.Msg{Subject: "sluice.job.j", Header: nats.Header{HeaderJobRunID: {"Wrong!"}}}),
	}
	for i, d := range pulled(t, jobConsumer(t, b, "j"), len(places)) {
		m, ok, err := b.JobAt(within(t, patience), places[i])
		if want := d.Job(); err != nil || !ok || m.RunID != want.RunID || m.Definition != "j" || m.Path != want.Path || string(m.Body) != string(want.Body) || m.Wrong != want.Wrong || !m.Accepted.Equal(want.Accepted) {
			t.Errorf("at %d is %+v, %v, %v, want %+v", places[i], m, ok, err, want)
		}
	}
	if err := b.DropJob(within(t, patience), places[1]); err != nil {
		t.Fatal(err)
	}
	for _, place := range []uint64{places[1], places[2] + 1} {
		if m, ok, err := b.JobAt(within(t, patience), place); ok || err != nil {
			t.Errorf("at %d is %+v, %v", place, m, err)
		}
	}
}

// A request that is buried where it is makes the same dead letter as one that was delivered, once, and is out of the queue.
func TestBuryJobAt(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	sent := job.Message{Definition: "j", RunID: "r1", Requester: "10.0.0.7", Path: "/a", Body: []byte(`{"args":["1"]}`)}
	place := request(t, b, sent)
	c := jobConsumer(t, b, "j")
	d := pulled(t, c, 1)[0]
	if err := b.keepDead(within(t, patience), d, "Test", "so it is"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.BuryJobAt(within(t, patience), place, "Test", "so it is"); err != nil {
			t.Fatal(err)
		}
	}
	if left := queued(t, b); len(left) > 0 {
		t.Errorf("it is still queued: %+v", left)
	}
	stream, err := b.js.Stream(within(t, patience), b.DeadStream())
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d dead letters", n)
	}
	other := request(t, b, job.Message{Definition: "j", RunID: "r2", Body: sent.Body})
	if err := b.BuryJobAt(within(t, patience), other, "Test", "so it is"); err != nil {
		t.Fatal(err)
	}
	first, err := stream.GetMsg(within(t, patience), 1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := stream.GetMsg(within(t, patience), 2)
	if err != nil {
		t.Fatal(err)
	}
	if second.Subject != first.Subject || string(second.Data) != string(first.Data) || second.Header.Get(HeaderJobRunID) != "r2" || second.Header.Get(HeaderDeadReason) != "Test" ||
		second.Header.Get(HeaderDeadDetail) != "so it is" || second.Header.Get(HeaderDeadAccepted) == "" {
		t.Errorf("it is %s %v, want it like %s %v", second.Subject, second.Header, first.Subject, first.Header)
	}
}
