package job_test

import (
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/job"
)

// rules are how runners work. The zero value is right; each field is a mistake.
type rules struct {
	decide          func(job.Sight) job.Action
	createRunning   bool // Jobs are not created suspended
	armAtCreation   bool
	writeBlindly    bool // without compare-and-set
	ackOnReceipt    bool
	lookAtCache     bool // the watch's cache is asked instead of the API server
	believeOldLooks bool // Looked stays when the record is read again
	believeEvents   bool // Looked is set by events of the watch
	resumeByName    bool // without UID and version
	endUnseen       bool // Looked stays when the run is to end
	keepParts       bool // what was captured of a Job that runs stands for all of it
	// overlook leaves out what is said about single steps, so that their consequences show.
	overlook bool
}

// TestModelCatches proves that the model can fail: in each world runners make one mistake, and what comes of it is found.
func TestModelCatches(t *testing.T) {
	tests := []struct {
		name string
		left budgets
		lag  bool
		rules
		want string
	}{
		{"a Job that is created running", budgets{}, false, rules{createRunning: true}, "a Job was created that is not suspended"},
		{"what comes of a Job that is created running", budgets{}, false, rules{createRunning: true, overlook: true}, "whose UID was never in the record"},
		{"records without compare-and-set", budgets{redeliveries: 1}, false, rules{writeBlindly: true}, "no record says that the Job exists"},
		{"what comes of records without compare-and-set", budgets{redeliveries: 1}, false, rules{writeBlindly: true, overlook: true}, "a final phase has changed"},
		{"a TTL from the beginning", budgets{}, false, rules{armAtCreation: true}, "a Job has a TTL before"},
		{"what comes of a TTL from the beginning", budgets{}, false, rules{armAtCreation: true, overlook: true}, "the run is Failed (JobDisappeared)"},
		{"an ack before the UID is recorded", budgets{}, false, rules{decide: ackBeforeUID}, "no record says that the Job exists"},
		{"what comes of an ack on receipt", budgets{crashes: 1}, false, rules{ackOnReceipt: true, overlook: true}, "there is no record"},
		{"a look at the cache", budgets{}, true, rules{lookAtCache: true}, "a suspended Job is left"},
		{"looks that are older than the record", budgets{cancels: 1}, false, rules{believeOldLooks: true}, "although its Job has completed"},
		{"events that are older than the record", budgets{cancels: 1}, true, rules{believeEvents: true}, "although its Job has completed"},
		{"an end after a look that was before it", budgets{delays: 1}, false, rules{endUnseen: true}, "although its Job has completed"},
		{"parts of the output", budgets{cancels: 1}, false, rules{keepParts: true}, "its output was kept before it ended"},
		{"a Resume of whatever has the name", budgets{lateRequests: 1}, false, rules{resumeByName: true}, "the run is over, and Job 2 may still run"},
		{"a Resume before the UID is recorded", budgets{}, false, rules{decide: resumeAtOnce}, "whose UID was never in the record"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			states, found := explore(&world{left: test.left, lag: test.lag, rules: test.rules}, 1_000_000)
			if found == nil {
				t.Fatalf("nothing is wrong in %d states", states)
			}
			t.Logf("after %d states: %s", states, found)
			if !strings.Contains(found.what, test.want) {
				t.Errorf("want %q", test.want)
			}
		})
	}
}

// ackBeforeUID lets go of the message as soon as there is a Job.
func ackBeforeUID(s job.Sight) job.Action {
	if s.Known && s.Message != nil && s.Run.Phase == job.Creating && s.Looked && s.Object != nil {
		return job.Action{Step: job.Ack}
	}
	return job.Decide(s)
}

// resumeAtOnce lets a Job run that is there, whatever the record says.
func resumeAtOnce(s job.Sight) job.Action {
	if s.Known && s.Run.Phase == job.Creating && s.Looked && s.Object != nil && s.Object.Suspended {
		return job.Action{Step: job.Resume, UID: s.Object.UID}
	}
	return job.Decide(s)
}
