package job_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sluicefaas/sluice/pkg/job"
)

func TestMoveNotesWhatChanges(t *testing.T) {
	r := job.Run{}.Move(modelNoon, job.Queued, job.ReasonAccepted, "")
	r = r.Move(protocolNow, job.Queued, job.ReasonAccepted, "another sentence")
	if len(r.Moves) != 1 || r.Message != "another sentence" || !r.UpdatedAt.Equal(protocolNow) {
		t.Errorf("the same phase and reason: %+v", r)
	}
	before := r
	r = r.Move(protocolNow, job.Queued, job.ReasonConcurrencyLimit, "")
	if len(r.Moves) != 2 || r.Moves[1] != (job.Move{At: protocolNow, Phase: job.Queued, Reason: job.ReasonConcurrencyLimit}) {
		t.Errorf("another reason: %+v", r.Moves)
	}
	if len(before.Moves) != 1 {
		t.Error("an earlier record has changed with it")
	}
}

func TestFinalPhaseIsNeverLeft(t *testing.T) {
	for _, phase := range []job.Phase{job.Succeeded, job.Failed, job.Cancelled, job.Rejected} {
		over := runIn(job.Queued).Move(modelNoon, phase, "R", "m")
		for _, next := range phases {
			if r := over.Move(protocolNow, next, "other", "other"); r.Phase != phase || r.Reason != "R" || r.Message != "m" {
				t.Errorf("%s → %s: %s %s %q", phase, next, r.Phase, r.Reason, r.Message)
			}
		}
	}
}

// TestMovesKeepEachPhase: where a reason comes and goes, that is what is dropped first.
func TestMovesKeepEachPhase(t *testing.T) {
	r := runIn(job.Pending)
	for i := range 100 {
		r = r.Move(modelNoon.Add(time.Duration(i)*time.Minute), job.Pending, []string{"ErrImagePull", "ImagePullBackOff"}[i%2], "")
	}
	r = r.Move(modelNoon.AddDate(0, 0, 1), job.Running, job.ReasonActive, "")
	if len(r.Moves) != job.MaxMoves {
		t.Fatalf("%d moves", len(r.Moves))
	}
	var order []job.Phase
	for i, m := range r.Moves {
		if i == 0 || m.Phase != r.Moves[i-1].Phase {
			order = append(order, m.Phase)
		}
		if i > 0 && m.At.Before(r.Moves[i-1].At) {
			t.Errorf("move %d is before the one before it", i)
		}
	}
	if got := strings.Join([]string{string(order[0]), string(order[1]), string(order[2]), string(order[3])}, " "); len(order) != 4 || got != "Queued Creating Pending Running" {
		t.Errorf("phases %v", order)
	}
	for i := range 100 { // phases that come and go are bounded as well
		r := runIn(job.Queued)
		for j := range i {
			r = r.Move(modelNoon, []job.Phase{job.Waiting, job.Queued}[j%2], "", "")
		}
		if len(r.Moves) > job.MaxMoves || r.Moves[0].Reason != job.ReasonAccepted {
			t.Fatalf("%d moves, the first is %+v", len(r.Moves), r.Moves[0])
		}
	}
}

func TestSentencesAreCutBetweenCharacters(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("é", job.MaxMessage), "a" + strings.Repeat("é", job.MaxMessage), strings.Repeat("語", job.MaxMessage), strings.Repeat("🙂", job.MaxMessage),
		strings.Repeat("a\xff", job.MaxMessage), "broken \xe8\xaa",
	} {
		got := runIn(job.Queued).Move(modelNoon, job.Waiting, "R", text).Message
		if len(got) > job.MaxMessage || !utf8.ValidString(got) || len(text) >= job.MaxMessage && len(got) <= job.MaxMessage-utf8.UTFMax {
			t.Errorf("%.20q: %d bytes, valid %v", text, len(got), utf8.ValidString(got))
		}
	}
	by := runIn(job.Queued).Cancel(modelNoon, strings.Repeat("é", job.MaxMessage)).Ending.By
	if len(by) != job.MaxMessage {
		t.Errorf("who has cancelled: %d bytes", len(by))
	}
}

// TestFlappingReasonsAreNotWrittenEachTime: a new reason is, at once; one that comes back, and counts, when the record has stood for a while.
func TestFlappingReasonsAreNotWrittenEachTime(t *testing.T) {
	r, writes := runIn(job.Pending), 0
	const minutes = 10
	for second := range minutes * 60 {
		o := resumed.object(0)
		o.Trouble = []string{"ErrImagePull", "ImagePullBackOff"}[second%2]
		a := job.Decide(job.Sight{Now: modelNoon.Add(time.Duration(second) * time.Second), Run: r, Known: true, Object: o, Looked: true})
		if a.Step == job.Store {
			r, writes = a.Record, writes+1
		}
		if second == 1 && r.Reason != "ImagePullBackOff" {
			t.Errorf("the second reason is not written at once: %s", r.Reason)
		}
	}
	if writes < minutes || writes > minutes*60/5+2 {
		t.Errorf("%d writes in %d minutes", writes, minutes)
	}

	o := running.object(0)
	o.Counts.Succeeded = 7
	r = runIn(job.Running)
	a := job.Decide(job.Sight{Now: protocolNow, Run: r, Known: true, Object: o, Looked: true})
	if a.Step != job.Rest || a.Until.IsZero() {
		t.Fatalf("counts: %s, until %s", words(a), a.Until)
	}
	a = job.Decide(job.Sight{Now: a.Until, Run: r, Known: true, Object: o, Looked: true})
	if a.Step != job.Store || a.Record.Counts.Succeeded != 7 {
		t.Errorf("counts, later: %s", words(a))
	}
}

func TestFollowedReasons(t *testing.T) {
	object := func(j jobState, change func(*job.Object)) *job.Object {
		o := j.object(0)
		change(o)
		return o
	}
	failed := func(active int) func(*job.Object) {
		return func(o *job.Object) { o.Counts.Failed, o.Counts.Active = 1, active }
	}
	tests := []struct {
		object *job.Object
		want   string
	}{
		{object(running, func(*job.Object) {}), "Running Active"},
		{object(running, failed(0)), "Running Retrying"},
		{object(running, failed(1)), "Running Active"},
		{object(running, func(o *job.Object) { o.Counts.Failed, o.Spent = 1, true }), "Running Active"},
		{object(running|suspended, failed(0)), "Running Suspended"},
		{object(running|deleting, failed(0)), "Running Terminating"},
		{object(resumed|deleting, func(*job.Object) {}), "Pending Terminating"},
		{object(resumed, func(o *job.Object) { o.Trouble = "Unschedulable" }), "Pending Unschedulable"},
		{object(running, func(o *job.Object) { o.Trouble, o.TroubleDetail = "Unschedulable", "0/3 nodes" }), "Running Active Unschedulable: 0/3 nodes"},
		{object(resumed, func(o *job.Object) { o.Counts.Ready = 1 }), "Running Active"},
		{object(resumed, func(o *job.Object) { o.Counts.Succeeded = 1 }), "Running Active"},
	}
	for _, test := range tests {
		a := job.Decide(job.Sight{Now: modelNoon.Add(time.Minute), Run: runIn(job.Pending, withResume), Known: true, Object: test.object, Looked: true})
		got := strings.TrimSpace(string(a.Record.Phase) + " " + a.Record.Reason + " " + a.Record.Message)
		if got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
		if a.Record.Phase == job.Running && a.Record.StartedAt.IsZero() {
			t.Errorf("%s: nobody knows since when", got)
		}
	}
}

// TestTimesAreInOrder: Kubernetes counts in whole seconds, so its times seem to be before ours.
func TestTimesAreInOrder(t *testing.T) {
	r := runIn(job.Pending)
	r.CreatedAt = modelNoon.Add(900 * time.Millisecond)
	a := job.Decide(saw(r, done, captured)).Record
	if a.StartedAt.Before(a.CreatedAt) || a.FinishedAt.Before(a.StartedAt) {
		t.Errorf("created %s, started %s, finished %s", a.CreatedAt, a.StartedAt, a.FinishedAt)
	}
	s := saw(runIn(job.Running), done, captured, hoursLater)
	if a := job.Decide(s).Record; !a.FinishedAt.Equal(s.Object.FinishedAt) || !a.Moves[len(a.Moves)-1].At.Equal(s.Now) {
		t.Errorf("finished %s, noted %s", a.FinishedAt, a.Moves[len(a.Moves)-1].At)
	}
}
