package local

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/job"
)

var (
	epoch   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	oneShot = jobLimits{backoffLimit: 2, completions: 1, parallelism: 1, backoff: firstJobBackoff}
)

// played is a Job that is driven by hand.
type playedJob struct {
	jobRecord
	limits jobLimits
	now    time.Time
}

func playJob(limits jobLimits) *playedJob {
	return &playedJob{jobRecord: jobRecord{Name: "j", UID: "u", ResumedAt: epoch}, limits: limits, now: epoch}
}

func (p *playedJob) step() jobStep { return p.plan(p.now, p.limits) }

// fail starts a process that fails, and returns how long the next one has to wait.
func (p *playedJob) fail(t *testing.T) time.Duration {
	t.Helper()
	if step := p.step(); step.kind != startPod {
		t.Fatalf("the step is %+v, want a start", step)
	}
	pod := p.begin()
	p.started(p.now, pod, 1, "1")
	p.ended(p.now, pod, processEnding{reason: reasonError}, p.limits)
	if step := p.step(); step.kind == restJob && !step.at.IsZero() {
		return step.at.Sub(p.now)
	}
	return 0
}

// Kubernetes' back-off: 10 s, 20 s, 40 s … 6 min, and BackoffLimitExceeded after one failure more than the limit.
func TestBackoffOfAJob(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		limits := oneShot
		limits.backoffLimit, limits.restarts = 8, restarts
		p := playJob(limits)
		for _, want := range []time.Duration{10, 20, 40, 80, 160, 320, 360, 360} {
			if got := p.fail(t); got != want*time.Second {
				t.Errorf("restarts %t: after %d failures the next process waits %s, want %d s", restarts, p.Failures, got, want)
			}
			p.now = p.now.Add(want * time.Second)
		}
		p.fail(t)
		if step := p.step(); step.kind != finishJob || step.end != job.Failed || step.reason != "BackoffLimitExceeded" {
			t.Errorf("restarts %t: the step is %+v", restarts, step)
		}
		if pods := len(p.Pods); restarts && (pods != 1 || p.Pods[0].Restarts != 8) || !restarts && pods != 9 {
			t.Errorf("restarts %t: %d pods, %+v", restarts, pods, p.Pods[0])
		}
		if o := p.object(jobSpec{container: "c"}); o.Counts.Failed != len(p.Pods) || o.Counts.Active != 0 {
			t.Errorf("restarts %t: counts %+v", restarts, o.Counts)
		}
	}
}

func TestPlanOfAJob(t *testing.T) {
	t.Parallel()
	ttl := func(seconds int32) *int32 { return &seconds }
	at := func(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }
	running := []podRecord{{Name: "j-a", Phase: podRunning}}
	deadline := func(limits jobLimits) jobLimits { limits.deadline = 5 * time.Second; return limits }
	read := oneShot
	read.read = epoch
	three := jobLimits{backoffLimit: 2, completions: 3, parallelism: 2, backoff: firstJobBackoff}
	for name, c := range map[string]struct {
		record jobRecord
		limits jobLimits
		want   jobStep
	}{
		"suspended":            {jobRecord{Suspended: true}, oneShot, jobStep{}},
		"start":                {jobRecord{}, oneShot, jobStep{kind: startPod}},
		"running":              {jobRecord{Pods: running}, oneShot, jobStep{}},
		"running, deadline":    {jobRecord{Pods: running, ResumedAt: at(-1)}, deadline(oneShot), jobStep{at: at(4)}},
		"deadline":             {jobRecord{Pods: running, ResumedAt: at(-5)}, deadline(oneShot), jobStep{kind: endPods}},
		"deadline, ended":      {jobRecord{Failures: 9, ResumedAt: at(-5)}, deadline(oneShot), jobStep{0, time.Time{}, job.Failed, "DeadlineExceeded", "Job was active longer than specified deadline"}},
		"deadline in back-off": {jobRecord{Failures: 1, FailedAt: epoch, ResumedAt: epoch}, deadline(oneShot), jobStep{at: at(5)}},
		"success, deadline":    {jobRecord{Succeeded: 1, ResumedAt: at(-5)}, deadline(oneShot), jobStep{0, time.Time{}, job.Succeeded, "CompletionsReached", ""}},
		"back-off":             {jobRecord{Failures: 1, FailedAt: at(-1)}, oneShot, jobStep{at: at(9)}},
		"back-off is over":     {jobRecord{Failures: 1, FailedAt: at(-10)}, oneShot, jobStep{kind: startPod}},
		"two at a time":        {jobRecord{Pods: running}, three, jobStep{kind: startPod}},
		"the last of three":    {jobRecord{Pods: running, Succeeded: 2}, three, jobStep{}},
		"one too many failed":  {jobRecord{Pods: running, Failures: 3}, three, jobStep{kind: endPods}},
		"deleting":             {jobRecord{Pods: running, Deleting: true, Suspended: true}, oneShot, jobStep{kind: endPods}},
		"deleted":              {jobRecord{Deleting: true}, oneShot, jobStep{kind: removeJob}},
		"deleted, over":        {jobRecord{Deleting: true, End: job.Failed}, oneShot, jobStep{kind: removeJob}},
		"over":                 {jobRecord{End: job.Succeeded, FinishedAt: at(-3)}, oneShot, jobStep{at: at(3597)}},
		"over, read later":     {jobRecord{End: job.Succeeded, FinishedAt: at(-9999)}, read, jobStep{at: at(3600)}},
		"over for long":        {jobRecord{End: job.Succeeded, FinishedAt: at(-3600)}, oneShot, jobStep{kind: removeJob}},
		"armed":                {jobRecord{End: job.Succeeded, FinishedAt: at(-3), TTL: ttl(5)}, oneShot, jobStep{at: at(2)}},
		"TTL is over":          {jobRecord{End: job.Succeeded, FinishedAt: at(-5), TTL: ttl(5)}, oneShot, jobStep{kind: removeJob}},
		"TTL 0":                {jobRecord{End: job.Succeeded, FinishedAt: epoch, TTL: ttl(0)}, oneShot, jobStep{kind: removeJob}},
	} {
		if c.want.end != "" {
			c.want.kind = finishJob
		}
		if got := c.record.plan(epoch, c.limits); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Whatever fails, succeeds or is ended when: never more processes than asked for, none too early, none too many, and an end that fits.
func TestPlanOfAJobHoldsItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := jobLimits{
			backoffLimit: rapid.IntRange(0, 4).Draw(t, "backoffLimit"), restarts: rapid.Bool().Draw(t, "restarts"),
			completions: rapid.IntRange(1, 5).Draw(t, "completions"), parallelism: rapid.IntRange(1, 3).Draw(t, "parallelism"), backoff: time.Second,
		}
		if rapid.Bool().Draw(t, "has a deadline") {
			limits.deadline = rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(t, "deadline")
		}
		p := playJob(limits)
		starts := 0
		for p.End == "" {
			switch step := p.step(); step.kind {
			case startPod:
				starts++
				if p.Failures > 0 && p.now.Sub(p.FailedAt) < limits.backoff {
					t.Fatalf("a process starts %s after a failure", p.now.Sub(p.FailedAt))
				}
				p.started(p.now, p.begin(), starts, "")
			case endPods:
				for _, pod := range p.running() {
					p.ended(p.now, pod, processEnding{}, limits)
				}
			case finishJob:
				p.finish(p.now, step.end, step.reason, step.message)
			default:
				p.advance(t, step)
			}
			if n := len(p.running()); n > limits.parallelism || n+p.Succeeded > limits.completions {
				t.Fatalf("%d run, %d have succeeded", n, p.Succeeded)
			}
		}
		if starts > limits.completions+limits.backoffLimit+limits.parallelism-1 {
			t.Fatalf("%d starts for %d completions and a limit of %d", starts, limits.completions, limits.backoffLimit)
		}
		if (p.End == job.Succeeded) != (p.Succeeded == limits.completions) {
			t.Fatalf("it is %s with %d of %d", p.End, p.Succeeded, limits.completions)
		}
		if o := p.object(jobSpec{}); o.Counts.Active+o.Counts.Ready > 0 || o.Counts.Failed != p.Failed {
			t.Fatalf("counts at the end: %+v", o.Counts)
		}
	})
}

func (p *playedJob) running() (names []string) {
	for _, pod := range p.Pods {
		if pod.Phase == podRunning {
			names = append(names, pod.Name)
		}
	}
	return names
}

// advance lets time pass, or a process end.
func (p *playedJob) advance(t *rapid.T, step jobStep) {
	names := p.running()
	if len(names) == 0 && step.at.IsZero() {
		t.Fatalf("nothing runs, and nothing is waited for: %+v", p.jobRecord)
	}
	if len(names) == 0 || !step.at.IsZero() && rapid.Bool().Draw(t, "time passes") {
		p.now = step.at
		return
	}
	how := processEnding{succeeded: rapid.Bool().Draw(t, "succeeds")}
	p.ended(p.now, rapid.SampledFrom(names).Draw(t, "pod"), how, p.limits)
}

// The record of a Job that has tried often stays small.
func TestOldPodsAreForgotten(t *testing.T) {
	t.Parallel()
	limits := oneShot
	limits.backoffLimit = 200
	p := playJob(limits)
	dropped := 0
	for range 120 {
		p.now = p.now.Add(p.fail(t))
		dropped += len(p.prune())
	}
	p.begin()
	p.prune()
	if len(p.Pods) > job.MaxPods || dropped < 120-job.MaxPods || p.Failed != 120 || p.count(podRunning) != 1 {
		t.Errorf("%d pods, %d dropped, %d failed", len(p.Pods), dropped, p.Failed)
	}
}

// TestJobsThatAreSpent: after the last failure that may be, or the last success, no further process comes, also before the record says so.
func TestJobsThatAreSpent(t *testing.T) {
	for name, c := range map[string]struct {
		record jobRecord
		want   bool
	}{
		"nothing has failed": {jobRecord{}, false},
		"it is tried again":  {jobRecord{Failures: 2, Failed: 2}, false},
		"it is not":          {jobRecord{Failures: 3, Failed: 3}, true},
		"it has succeeded":   {jobRecord{Failures: 1, Failed: 1, Succeeded: 1}, true},
	} {
		if got := c.record.object(jobSpec{jobLimits: oneShot}).Spent; got != c.want {
			t.Errorf("%s: spent is %v", name, got)
		}
	}
}
