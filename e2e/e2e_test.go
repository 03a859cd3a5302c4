package e2e

import (
	"context"
	"testing"
	"time"
)

// TestSluice is the whole: the chart is installed once, each scenario is a sub-test named by a sentence, and the end is the uninstallation.
// They run one after the other, because most of them look at the whole cluster.
func TestSluice(t *testing.T) {
	began := time.Now()
	s := open(t)
	if !s.scenario(t, "helm install --wait on a bare cluster makes every pod ready", 6*time.Minute, s.installOnABareCluster) {
		t.FailNow()
	}
	const short, long = 2 * time.Minute, 5 * time.Minute
	for _, one := range []struct {
		sentence string
		limit    time.Duration
		run      func(context.Context, *testing.T)
	}{
		{"only pods that use a token have one", short, s.tokensOnlyWhereUsed},
		{"a sync call to a function at zero is answered once its pod is ready, and the idle function goes back to zero", short, s.syncFromZero},
		{"an async call to a function at zero is delivered", short, s.asyncFromZero},
		{"a StatefulSet goes from zero and back", short, s.statefulSet},
		{"a publish to NATS from another pod wakes a function", short, s.publishWakes},
		{"a function deployed with three replicas stays at three until its timeout", short, s.threeStayThree},
		{"a thousand async calls from zero keep both limits", long, s.thousandKeepLimits},
		{"workloads of other namespaces and with wrong names are left alone", short, s.otherNamespace},
		{"an endpoint is a pod's address and port", short, s.endpointsArePods},
		{"a function that never gets ready is answered 503, and says why", long, s.neverReady},
		{"a missing image is said", short, s.missingImage},
		{"a quota is said, and the function starts when there is room", short, s.exceededQuota},
		{"the conformance suite of the scaler's cluster passes", long, s.conformance},
		{"a sync call whose pod is killed is answered 502", short, s.syncCallOfKilledPod},
		{"an async call whose pod is killed is tried again at another pod", short, s.asyncCallOfKilledPod},
		{"a pod that somebody deletes gets no new call, and its calls end", short, s.deletedPod},
		{"a job runs once, its output is read, and both are there when the Job is gone", short, s.jobRuns},
		{"a job request published to NATS starts a Job", short, s.jobPublished},
		{"no more Jobs are unfinished than NumberParallelJob says", short, s.jobLimit},
		{"a run is cancelled in the queue and while it runs", short, s.jobCancelled},
		{"a job's missing image is said, and ends the run in time", short, s.jobMissingImage},
		{"a quota of Jobs is said, and the run starts when there is room", short, s.jobQuota},
		{"a job wakes what it depends on and keeps it awake until its end", short, s.jobDependency},
		{"a job whose pod is killed gets another pod", short, s.jobPodKilled},
		{"the conformance suite of the jobrunner's cluster passes", long, s.jobConformance},
		{"kill -9 of the leading jobrunner under load starts every run once", long, s.jobrunnerKilled},
		{"figures of job starts", long, s.jobStartFigures},
		{"the tour of SlimFaas's demo", 2 * long, s.slimFaasTour},
		{"figures of cold starts", long, s.coldStart},
		{"figures of a burst from zero", long, s.burst},
		{"each pod of Sluice is killed in turn under load", 12 * time.Minute, s.killedComponents},
		{"kill -9 of all NATS servers at once loses no accepted call", long, s.allNATSKilled},
		{"without the API server calls go on, nothing is scaled, and then everything catches up", s.settings.apiDown + catchUp + long, s.apiServerStopped},
		{"figures of memory", long, s.memory},
	} {
		s.scenario(t, one.sentence, one.limit, one.run)
	}
	if !s.settings.keep {
		s.scenario(t, "uninstall leaves nothing behind and functions alone", long, s.uninstallLeavesNothing)
	}
	s.figures.add("all scenarios", "%.0f s", time.Since(began).Seconds())
	t.Logf("figures\n%s", s.figures.String())
	if err := s.keepFile("e2e-figures.txt", s.figures.String()); err != nil {
		t.Error(err)
	}
}
