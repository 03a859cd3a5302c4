package services_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
	"github.com/sluicefaas/sluice/services/jobrunner"
)

// lateCluster is the API server for a jobrunner that is paused right before its first request of one kind. That request is as good as sent: it goes out when the process goes on,
// whatever has happened to the Lease.
type lateCluster struct {
	jobrunner.Cluster
	before job.Step
	once   sync.Once
}

// Create implements jobrunner.Cluster.
func (l *lateCluster) Create(ctx context.Context, manifest json.RawMessage) (*job.Object, error) {
	ctx, answered := l.pause(ctx, job.Create)
	object, err := l.Cluster.Create(ctx, manifest)
	answered(err)
	return object, err
}

// Resume implements jobrunner.Cluster.
func (l *lateCluster) Resume(ctx context.Context, name, uid, version string) (*job.Object, error) {
	ctx, answered := l.pause(ctx, job.Resume)
	object, err := l.Cluster.Resume(ctx, name, uid, version)
	answered(err)
	return object, err
}

// lateAnswered is what the process says when its late request is answered.
const lateAnswered = "the late request is answered:"

func (l *lateCluster) pause(ctx context.Context, before job.Step) (_ context.Context, answered func(error)) {
	answered = func(error) {}
	if before == l.before {
		l.once.Do(func() {
			stopSelf()
			ctx, answered = context.WithoutCancel(ctx), func(err error) { fmt.Fprintln(os.Stderr, lateAnswered, err) }
		})
	}
	return ctx, answered
}

// stopSelf stops this process until it gets SIGCONT. Other threads may take the signal to stop a moment later: this one does nothing meanwhile.
func stopSelf() {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-goesOn
}

// stopped waits until the process has stopped itself.
func (p *process) stopped() {
	p.t.Helper()
	eventually(p.t, p.service+" has stopped itself", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
		_, state, _ := strings.Cut(string(text), ") ") // after the name, see proc(5)
		return err == nil && strings.HasPrefix(state, "T")
	})
}

// goOn lets it send its late request, and waits for the answer.
func (p *process) goOn() {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGCONT); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, p.service+" has sent its late request", func() bool { return strings.Contains(p.out.String(), lateAnswered) })
}

// seenJobs are the Jobs that there have been.
type seenJobs struct {
	mu sync.Mutex
	// all are the UIDs; those that are still there, and those that were not suspended at some time, are true in there and resumed. Guarded by mu.
	there, resumed map[types.UID]bool
}

func (c *jobCluster) seeJobs() *seenJobs {
	c.t.Helper()
	s := &seenJobs{there: map[types.UID]bool{}, resumed: map[types.UID]bool{}}
	c.watchJobs(func(change watch.EventType, j *batchv1.Job) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.there[j.UID] = change != watch.Deleted
		s.resumed[j.UID] = s.resumed[j.UID] || !ptr.Deref(j.Spec.Suspend, false)
	})
	return s
}

// count is how many Jobs there have been, how many of them are there, and how many were not suspended at some time.
func (s *seenJobs) count() (all, there, resumed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for uid := range s.there {
		all++
		if s.there[uid] {
			there++
		}
		if s.resumed[uid] {
			resumed++
		}
	}
	return all, there, resumed
}

// lateRun is a run whose first jobrunner was paused right before a request to the API server.
type lateRun struct {
	*jobCluster
	jobs  *seenJobs
	first *process
}

func newLateRun(t *testing.T, first failing, work time.Duration, ttl *int32) *lateRun {
	t.Helper()
	l := &lateRun{jobCluster: newJobCluster(t, work)}
	l.define("d", 1, ttl)
	l.jobs = l.seeJobs()
	first.Identity = "first"
	l.first = l.startAs(first)
	l.ask("d", "run-1")
	l.first.stopped()
	return l
}

// gone waits until there have been so many Jobs, and none is left.
func (l *lateRun) gone(jobs int) {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("%d Jobs were there, and are gone", jobs), func() bool {
		all, there, _ := l.jobs.count()
		return all == jobs && there == 0
	})
}

// unchanged checks that the record is what it was.
func (l *lateRun) unchanged(before job.Run) {
	l.t.Helper()
	if after := l.closed("d", "run-1"); !reflect.DeepEqual(after, before) {
		l.t.Errorf("the record was\n%+v\nand is\n%+v", before, after)
	}
}

// A jobrunner is paused when the record says that it creates the Job, right before it does. Another one brings the run to its end, and the TTL removes the Job, so that its name is
// free. The request that comes now makes a Job that nobody resumes and that is deleted, by whoever is there; the record stays as it is. (jobs.md: H2.)
func TestH2LateCreation(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]failing{
		"the paused one has lost the Lease":          {},
		"the paused one leads and is alone":          {Alone: true},
		"the paused one is killed after its request": {Point: &failPoint{Step: job.Create, Phase: job.Creating}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first.Late = job.Create
			l := newLateRun(t, first, 50*time.Millisecond, ptr.To[int32](0))
			second := l.startAs(failing{Identity: "second"})
			before := l.closed("d", "run-1")
			if before.Phase != job.Succeeded {
				t.Errorf("the run has ended as %s %s %s", before.Phase, before.Reason, before.Message)
			}
			l.gone(1)
			if first.Alone {
				second.kill()
			}
			l.first.goOn()
			l.gone(2)
			if _, _, resumed := l.jobs.count(); resumed != 1 {
				t.Errorf("%d Jobs were resumed, want the first one alone", resumed)
			}
			l.audit.once("run-1")
			l.unchanged(before)
			eventually(t, "the queue is empty", func() bool { return l.queued() == 0 })
		})
	}
}

// A jobrunner is paused right before it creates the Job, or resumes it, and the run is cancelled; then it goes on, alone or when another one has ended the run. The Job is deleted and
// has started no pod, unless the request to resume it was the one that was left to be sent, and nothing has changed the Job meanwhile. (jobs.md: H4.)
func TestH4CancelledBeforeALateRequest(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]struct {
		before    job.Step
		phase     job.Phase
		takenOver bool
		// resumed is how many Jobs may have been.
		resumed int
	}{
		"the creation": {before: job.Create, phase: job.Creating},
		"the creation, and another one takes over": {before: job.Create, phase: job.Creating, takenOver: true},
		"the resumption": {before: job.Resume, phase: job.Pending, resumed: 1},
		"the resumption, and another one takes over": {before: job.Resume, phase: job.Pending, takenOver: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLateRun(t, failing{Late: late.before, Alone: !late.takenOver}, time.Hour, nil)
			l.cancel("d", "run-1", late.phase)
			var before job.Run
			if late.takenOver {
				l.startAs(failing{Identity: "second"})
				before = l.closed("d", "run-1")
			}
			l.first.goOn()
			l.gone(1)
			after := l.closed("d", "run-1")
			if after.Phase != job.Cancelled || after.Reason != job.ReasonUserRequested {
				t.Errorf("the run has ended as %s %s", after.Phase, after.Reason)
			}
			if late.takenOver {
				l.unchanged(before)
			}
			if _, _, resumed := l.jobs.count(); resumed > late.resumed {
				t.Errorf("%d Jobs were resumed, want %d", resumed, late.resumed)
			}
			eventually(t, "the queue is empty", func() bool { return l.queued() == 0 })
			eventually(t, "the end is told", func() bool { _, _, ends := l.audit.count("run-1"); return ends > 0 })
			if jobs, pods, ends := l.audit.count("run-1"); jobs > late.resumed || pods > late.resumed || ends != 1 {
				t.Errorf("%d Jobs had pods, %d of them, and %d ends were told", jobs, pods, ends)
			}
		})
	}
}
