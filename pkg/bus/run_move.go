package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/job"
)

// RunMove is what is published when a run has moved.
type RunMove struct {
	RunID      string    `json:"runId"`
	Definition string    `json:"definition"`
	Attempt    int       `json:"attempt"`
	Phase      job.Phase `json:"phase"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	// At is when it moved; zero if the record does not say it.
	At      time.Time `json:"at,omitzero"`
	JobName string    `json:"jobName,omitempty"`
}

// AnnounceRun publishes a move of a run on its state subject, and returns when the server has it. Nats-Msg-Id is <definition>.<run>:<attempt>:<phase>:<reason>, so that whoever
// stores them keeps each once: runs of two jobs may have the same id.
func (b *Bus) AnnounceRun(ctx context.Context, run job.Run) error {
	move := RunMove{
		RunID: run.ID, Definition: run.Definition, Attempt: run.Attempt, Phase: run.Phase, Reason: run.Reason, Message: run.Message, JobName: run.JobName,
	}
	if last := len(run.Moves) - 1; last >= 0 {
		move.At = run.Moves[last].At
	}
	data, err := json.Marshal(move)
	if err == nil {
		err = b.announceRun(ctx, move, data)
	}
	if err != nil {
		return fmt.Errorf("announce that run %s of %s is %s: %w", run.ID, run.Definition, run.Phase, err)
	}
	return nil
}

func (b *Bus) announceRun(ctx context.Context, move RunMove, data []byte) error {
	id := fmt.Sprintf("%s.%s:%d:%s:%s", move.Definition, move.RunID, move.Attempt, move.Phase, move.Reason)
	msg := &nats.Msg{Subject: b.JobStateSubject(move.Definition, move.RunID), Header: nats.Header{jetstream.MsgIDHeader: {id}}, Data: data}
	if err := b.conn.PublishMsg(msg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return b.conn.FlushWithContext(ctx)
}
