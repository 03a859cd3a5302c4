package job_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sluicefaas/sluice/pkg/job"
	"pgregory.net/rapid"
)

var phases = []job.Phase{job.Queued, job.Waiting, job.Creating, job.Pending, job.Running, job.Succeeded, job.Failed, job.Cancelled, job.Rejected, "Paused"}

func drawTimeNear(t *rapid.T, label string) time.Time {
	if rapid.IntRange(0, 3).Draw(t, label+" is zero") == 0 {
		return time.Time{}
	}
	return modelNoon.Add(time.Duration(rapid.IntRange(-1000, 1000).Draw(t, label)) * time.Second)
}

// drawRun need not be one that comes up: a decision must be safe for any record that somebody may have written.
func drawRun(t *rapid.T) job.Run {
	r := modelRun()
	r.Phase = rapid.SampledFrom(phases).Draw(t, "phase")
	r.Reason = rapid.SampledFrom([]string{"", job.ReasonSuspended, job.ReasonAdmission, job.ReasonCreated, job.ReasonInvalidSpec}).Draw(t, "reason")
	r.JobName = rapid.SampledFrom([]string{"", jobNames[0], jobNames[1]}).Draw(t, "name")
	r.JobUID = rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "uid")
	r.Salt = rapid.IntRange(0, 4).Draw(t, "salt")
	r.Closed = rapid.Bool().Draw(t, "closed")
	r.QueueDeadline = rapid.IntRange(0, 900).Draw(t, "queue deadline")
	r.StartedAt, r.ResumedAt, r.UpdatedAt = drawTimeNear(t, "started"), drawTimeNear(t, "resumed"), drawTimeNear(t, "updated")
	r.Counts.Active = rapid.IntRange(0, 1).Draw(t, "counted")
	if rapid.Bool().Draw(t, "ending") {
		r.Ending = &job.Ending{Phase: job.Cancelled, Reason: job.ReasonUserRequested}
	}
	return r
}

func drawSight(t *rapid.T) job.Sight {
	s := job.Sight{Now: modelNoon, Known: rapid.IntRange(0, 9).Draw(t, "unknown") > 0}
	if s.Known {
		s.Run = drawRun(t)
	}
	flags := jobState(rapid.IntRange(0, 255).Draw(t, "flags"))
	if rapid.IntRange(0, 4).Draw(t, "no object") > 0 {
		s.Object = newJob(rapid.IntRange(1, 2).Draw(t, "object"), flags).object(uint8(rapid.IntRange(0, 1).Draw(t, "under")))
		s.Object.Held = rapid.Bool().Draw(t, "held")
		s.Object.Counts.Active = rapid.IntRange(0, 1).Draw(t, "active")
		s.Object.Trouble = rapid.SampledFrom([]string{"", "Unschedulable"}).Draw(t, "trouble")
	}
	s.Looked = rapid.Bool().Draw(t, "looked")
	s.Kept = rapid.Bool().Draw(t, "kept")
	s.Announced = rapid.Bool().Draw(t, "announced")
	if rapid.Bool().Draw(t, "in hand") {
		inHand(&s)
	}
	if rapid.IntRange(0, 4).Draw(t, "denied") == 0 {
		noQuota(&s)
	}
	if rapid.IntRange(0, 4).Draw(t, "gate") == 0 {
		gateClosed(&s)
	}
	return s
}

// fences are what holds for every single decision, whatever anybody has written anywhere.
func fences(t *rapid.T) {
	s := drawSight(t)
	a := job.Decide(s)
	r, o := s.Run, s.Object
	live := s.Looked && o != nil && o.Name == r.JobName
	broken := ""
	switch a.Step {
	case job.Resume:
		if !live || r.JobUID == "" || o.UID != r.JobUID || a.UID != r.JobUID || o.Held || o.Resumed || o.Deleting || r.Phase != job.Pending || r.Ending != nil || !r.ResumedAt.IsZero() {
			broken = "resumed without a live look at the Job whose UID is recorded, or against somebody's will"
		}
	case job.Create:
		if !s.Known || r.Phase != job.Creating || r.Ending != nil || live {
			broken = "created although the record does not say so, or it is there"
		}
	case job.Delete:
		unwanted := r.Phase.Final() || r.Ending != nil || o.UID != r.JobUID
		if o == nil || a.UID != o.UID || !o.IsOf(r) && o.UID != r.JobUID || !unwanted || o.UID == r.JobUID && r.Ending == nil {
			broken = "deleted what is not ours, or is wanted"
		}
	case job.Arm:
		if !r.Phase.Final() || a.UID != r.JobUID || o.UID != r.JobUID {
			broken = "armed before the end"
		}
	case job.Ack:
		if s.Message == nil || !s.Known || r.JobUID == "" && !r.Phase.Final() {
			broken = "acknowledged while no record leads on"
		}
	case job.Announce:
		if !r.Phase.Final() {
			broken = "announced before the end"
		}
	case job.Store:
		broken = brokenStore(s, a.Record)
	case job.Rest, job.Look, job.Capture, job.Bury:
	}
	if broken != "" {
		t.Fatalf("%s: %s", broken, words(a))
	}
}

func brokenStore(s job.Sight, next job.Run) string {
	r := s.Run
	switch {
	case !s.Known && next.Phase.Final():
		return "begun with the end"
	case r.Phase.Final() && (next.Phase != r.Phase || next.Reason != r.Reason || next.JobUID != r.JobUID):
		return "changed what is over"
	case s.Known && r.JobUID != "" && next.JobUID != r.JobUID && !next.Phase.Final() && r.Phase != job.Creating:
		return "took another UID"
	case r.Ending != nil && !next.Phase.Final():
		return "went on although it is to end"
	case next.Phase.Final() && !r.Phase.Final() && (next.Spec != nil || next.FinishedAt.IsZero() || next.Counts.Active > 0):
		return "kept what only a run needs that is not over"
	}
	return ""
}

func TestFencesOfEveryDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for range 50 {
			fences(t)
		}
	})
}

func FuzzDecide(f *testing.F) { f.Fuzz(rapid.MakeFuzz(fences)) }

// TestDecideComesToRest: what one decision has written does not make the next one write again, so that no record is written for ever.
func TestDecideComesToRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSight(t)
		for range 12 {
			a := job.Decide(s)
			if a.Step != job.Store {
				return
			}
			s.Run, s.Known = a.Record, true
		}
		t.Fatalf("it still writes: %s", words(job.Decide(s)))
	})
}

// TestRecordsStayBounded: whatever a cluster says, for as long as it likes, the record fits into a message of NATS and can be read again.
func TestRecordsStayBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := runIn(job.Pending)
		now := modelNoon
		text := rapid.OneOf(rapid.StringN(0, 20, -1), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 9000), func(b []byte) string { return string(b) }))
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "pause")) * time.Second)
			o := resumed.object(0)
			o.Trouble, o.TroubleDetail = rapid.SampledFrom([]string{"", "A", "B", "C"}).Draw(t, "trouble"), text.Draw(t, "detail")
			for range rapid.IntRange(0, 70).Draw(t, "pods") {
				o.Pods = append(o.Pods, job.Pod{Name: "p", Message: "m", Containers: []job.Container{{Message: "c"}}})
			}
			if len(o.Pods) > 0 {
				o.Pods[len(o.Pods)-1].Message, o.Pods[0].Containers[0].Message = text.Draw(t, "pod"), text.Draw(t, "container")
			}
			if a := job.Decide(job.Sight{Now: now, Run: r, Known: true, Object: o, Looked: true}); a.Step == job.Store {
				r = a.Record
			}
			requireBounded(t, r)
		}
	})
}

func requireBounded(t *rapid.T, r job.Run) {
	sentences := []string{r.Message}
	for _, p := range r.Pods {
		sentences = append(sentences, p.Message)
		for _, c := range p.Containers {
			sentences = append(sentences, c.Message)
		}
	}
	for _, text := range sentences {
		if len(text) > job.MaxMessage || !utf8.ValidString(text) {
			t.Fatalf("a sentence of %d bytes, valid %v", len(text), utf8.ValidString(text))
		}
	}
	if len(r.Moves) > job.MaxMoves || len(r.Pods) > job.MaxPods {
		t.Fatalf("%d moves, %d pods", len(r.Moves), len(r.Pods))
	}
	document, err := json.Marshal(r)
	if err != nil || len(document) > 768<<10 {
		t.Fatalf("%d bytes: %v", len(document), err)
	}
	var again job.Run
	if err := json.Unmarshal(document, &again); err != nil || !reflect.DeepEqual(again.Pods, r.Pods) || again.Message != r.Message {
		t.Fatalf("read again it is another one: %v", err)
	}
}
