package bus

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

func TestMovesOfRunsAreAnnounced(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	awaitConnection(t, b)
	heard := make(chan *nats.Msg, 10)
	stop, err := connectOnly(t, server.URL()).subscribe("sluice.jobstate.j.*", func(msg *nats.Msg) { heard <- msg })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	record := run("j", "1", job.Queued).Move(at, job.Failed, "DeadlineExceeded", "it took too long")
	record.Attempt, record.JobName = 2, "j-abc-2"
	var msg *nats.Msg
	eventually(t, "the subscription is there", func() bool {
		if err := b.AnnounceRun(within(t, patience), record); err != nil {
			t.Fatal(err)
		}
		select {
		case msg = <-heard:
		case <-time.After(quiet):
		}
		return msg != nil
	})
	var got map[string]any
	if err := json.Unmarshal(msg.Data, &got); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"runId": "1", "definition": "j", "attempt": 2.0, "phase": "Failed", "reason": "DeadlineExceeded", "message": "it took too long", "jobName": "j-abc-2",
		"at": "2026-01-02T03:04:05Z",
	} {
		if got[field] != want {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}
	if id := msg.Header.Get("Nats-Msg-Id"); msg.Subject != "sluice.jobstate.j.1" || id != "j.1:2:Failed:DeadlineExceeded" || len(got) != 8 {
		t.Errorf("got %s, id %s, %v", msg.Subject, id, got)
	}
	server.Stop()
	if err := b.AnnounceRun(within(t, patience), record); err == nil {
		t.Error("announced to a server that is away")
	}
}
