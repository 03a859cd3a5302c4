package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// jobrunnerKilled kills the leading jobrunner twice while requests come in. Every accepted request has one Job, and its pod runs once.
func (s *system) jobrunnerKilled(ctx context.Context, t *testing.T) {
	const runs, parallel = 60, 6
	d := s.define(ctx, t, definition{name: "job-ledger", annotations: publicJob(annotationJobParallel, fmt.Sprint(parallel))})
	seen := s.watchJobs(ctx, t, d.name)
	var ids []string
	for i := range runs {
		if i == runs/3 || i == 2*runs/3 {
			s.killLeadingJobrunner(ctx, t)
		}
		ids = append(ids, s.askJob(ctx, t, d.name, args("sleep=200ms")))
	}
	began := time.Now()
	for _, id := range ids {
		s.awaitEnd(ctx, t, d.name, id, "Succeeded")
		if made := seen.jobsOf(id); len(made) != 1 {
			t.Errorf("the run %s had the Jobs %v, want one", id, made)
		}
		if pods := s.podsOfRun(ctx, t, id); len(pods) != 1 {
			t.Errorf("the run %s has the pods %v, want one", id, names(pods))
		}
	}
	if most := seen.unfinished(); most > parallel {
		t.Errorf("%d Jobs were unfinished at a time, want %d at most", most, parallel)
	}
	s.figures.add("kill -9 of the leading jobrunner, twice, under load", "%d runs accepted, each with one Job and one pod; all ended %.1f s after the last request", runs, time.Since(began).Seconds())
}

// killLeadingJobrunner kills the one whose name the Lease has. The Lease and the pod's status may still be of one that was killed before: there is no process then.
func (s *system) killLeadingJobrunner(ctx context.Context, t *testing.T) {
	t.Helper()
	until(ctx, t, "a leading jobrunner to be killed", time.Minute, func(ctx context.Context) (bool, string) {
		lease, err := s.kube.CoordinationV1().Leases(s.kube.namespace).Get(ctx, release+"-jobrunner", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return false, fmt.Sprintf("the Lease has no holder: %v", err)
		}
		for _, pod := range s.running(ctx, t, "jobrunner") {
			if strings.HasPrefix(*lease.Spec.HolderIdentity, pod.Name) {
				err := s.killPod(ctx, pod)
				return err == nil, fmt.Sprint(err)
			}
		}
		return false, fmt.Sprintf("the Lease is held by %q, which is no ready pod", *lease.Spec.HolderIdentity)
	})
}
