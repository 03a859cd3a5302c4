package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Accept makes the record of a request: Queued with the whole Job in Spec, or Rejected with the reason. It does not depend on anything but its arguments, so that
// gateway and jobrunner come to the same. The message of a rejected run begins with the field that is wrong, and a colon.
func Accept(d Definition, m Message, now time.Time) Run {
	run := Run{
		ID: m.RunID, Definition: d.Name, Generation: d.Generation, SpecHash: RequestHash(m), Attempt: 1,
		QueueDeadline: d.QueueDeadline, StartDeadline: d.StartDeadline, Logs: d.Logs,
		Requester: sentence(m.Requester), Path: clip(m.Path, maxPath), Sequence: m.Sequence, QueuedAt: m.Accepted,
	}
	if run.QueuedAt.IsZero() {
		run.QueuedAt = now
	}
	warnings, err := run.merge(d, m)
	run.Warnings = boundSentences(warnings)
	var refused *refusal
	if errors.As(err, &refused) {
		return run.Reject(now, refused.reason, refused.Error())
	}
	return run.Move(run.QueuedAt, Queued, ReasonAccepted, "")
}

// Reject is the run with an end that comes before it was accepted.
func (r Run) Reject(now time.Time, reason, message string) Run {
	return r.finish(now, Rejected, reason, message)
}

// merge fills in what the definition and the request come to together. Any error is a refusal.
func (r *Run) merge(d Definition, m Message) (warnings []string, err error) {
	if err := checkMessage(m); err != nil {
		return nil, err
	}
	asked, warnings, err := decodeRequest(m.Body)
	if err != nil {
		return warnings, err
	}
	if asked.runID != "" && asked.runID != m.RunID {
		warnings = append(warnings, fmt.Sprintf("runId: %s is ignored: the run has the id %s already", quote(asked.runID), m.RunID))
	}
	merged, err := newMerger(d, asked)
	if err != nil {
		return warnings, err
	}
	err = merged.all()
	warnings = append(warnings, merged.warnings...)
	if err != nil {
		return warnings, err
	}
	r.TTL, r.DependsOn, r.Container = merged.ttl, merged.dependsOn, text(merged.container, "name")
	if r.Request, err = writeBody(m.Body); err != nil {
		return warnings, err
	}
	r.Spec, err = merged.spec()
	return warnings, err
}

// writeBody is the body as a record has it.
func writeBody(body []byte) (json.RawMessage, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	written, err := json.Marshal(json.RawMessage(body))
	if err != nil {
		return nil, refuse(ReasonInvalidRequest, "body", "%v", err)
	}
	if len(written) > MaxBody {
		return nil, refuse(ReasonTooLarge, "body", "%d bytes are too many: at most %d are right", len(written), MaxBody)
	}
	return written, nil
}

// maxPath bounds JOB_PATH, in bytes.
const maxPath = 8 << 10

func checkMessage(m Message) error {
	if m.Wrong != "" {
		return refuse(ReasonBadMessage, "message", "%s", m.Wrong)
	}
	if err := ValidRunID(m.RunID); err != nil {
		return refuse(ReasonInvalidRequest, "runId", "%s %v", quote(m.RunID), err)
	}
	if len(m.Path) > maxPath {
		return refuse(ReasonTooLarge, "path", "%d bytes are too many: at most %d are right", len(m.Path), maxPath)
	}
	if err := checkArgument(m.Path); err != nil {
		return refuse(ReasonInvalidRequest, "path", "%s %v", quote(m.Path), err)
	}
	return nil
}

// Bounds of a record: it has to fit into a message of NATS, 1 MiB, with the request and room for its pods.
const (
	maxSpec       = 512 << 10 // bytes
	mostSentences = 20
)

// spec is the merged template as JSON.
func (m *merger) spec() (json.RawMessage, error) {
	delete(m.template.job, fieldTTL)
	spec, err := json.Marshal(m.template.whole)
	if err != nil {
		return nil, refuse(ReasonInvalidRequest, "body", "cannot be merged with the definition: %v", err)
	}
	if len(spec) > maxSpec {
		return nil, refuse(ReasonTooLarge, "body", "with it the whole Job has %d bytes: at most %d are right", len(spec), maxSpec)
	}
	return spec, nil
}

func boundSentences(all []string) []string {
	if extra := len(all) - mostSentences; extra > 0 {
		all = append(all[:mostSentences:mostSentences], fmt.Sprintf("and %d more", extra))
	}
	for i, warning := range all {
		all[i] = sentence(warning)
	}
	return all
}
