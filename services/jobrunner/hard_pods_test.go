package jobrunner

import (
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// TestH6 (jobs.md): a Job whose pods never start stays active for ever in Kubernetes; we say why, end it, and free its slot.
func TestH6(t *testing.T) {
	t.Parallel()
	for _, trouble := range []struct{ reason, detail string }{
		{"ImagePullBackOff", `Back-off pulling image "example/fibonaci:1"`},
		{"CreateContainerConfigError", `secret "db" not found`},
		{"PodQuotaExceeded", "pods is forbidden: exceeded quota"},
		{"PodsForbidden", "violates PodSecurity restricted"},
		{"ServiceAccountNotFound", `serviceaccount "robot" not found`},
	} {
		t.Run(trouble.reason, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, definition("fib", 1, func(d *job.Definition) { d.StartDeadline = 10 }))
			f.api.plan = func(job.Object) plan { return plan{end: stuck} }
			f.startSynced()
			f.publish("fib", "r1", "")
			eventually(t, "the Job is let run", func() bool { o := f.api.of("r1"); return o != nil && !o.Suspended })
			f.api.change("r1", func(o *object) { o.Trouble, o.TroubleDetail = trouble.reason, trouble.detail })
			f.await("fib", "r1", "pending with the reason", func(r job.Run) bool {
				return r.Phase == job.Pending && r.Reason == trouble.reason && r.Message == trouble.detail
			})
			f.publish("fib", "r2", "")
			run := f.closed("fib", "r1", job.Failed)
			if run.Reason != job.ReasonStartDeadlineExceeded || !strings.Contains(run.Message, trouble.reason) || !strings.Contains(run.Message, trouble.detail) {
				t.Errorf("it is %s: %s", run.Reason, run.Message)
			}
			if f.api.of("r1") != nil {
				t.Error("the Job is still there")
			}
			eventually(t, "the slot is free", func() bool { return f.api.of("r2") != nil })
		})
	}
}
