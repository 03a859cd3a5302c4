package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Starts of jobs: Sluice's and plain ones in turn.
const (
	jobStarts         = 30
	jobStartsFew      = 8
	holdJobObjectP50  = 50.0
	holdJobStartExtra = 100.0
)

// jobStartFigures measures from a request to the Job object and to its running pod, beside a plain create of the same Job.
func (s *system) jobStartFigures(ctx context.Context, t *testing.T) {
	d := s.define(ctx, t, definition{name: "timed", annotations: publicJob(annotationJobParallel, "1")})
	objects, pods := s.watchJobs(ctx, t, d.name), s.watchStarts(ctx, t)
	count := jobStarts
	if testing.Short() {
		count = jobStartsFew
	}
	var object, ours, plain []float64
	for n := range count {
		id, sent := s.askJobTimed(ctx, t, d.name, args("1"))
		r := s.awaitEnd(ctx, t, d.name, id, "Succeeded")
		t.Logf("queued %.0f, created %.0f, seen %.0f ms after the request; moves %v", millis(r.QueuedAt.Sub(sent)), millis(r.CreatedAt.Sub(sent)), millis(objects.seenAt(id).Sub(sent)), r.Moves)
		object = append(object, millis(objects.seenAt(id).Sub(sent)))
		ours = append(ours, millis(pods.startOf(t, labelRun, id).Sub(sent)))
		name := fmt.Sprintf("plain-%d", n)
		created := s.plainJob(ctx, t, d, name)
		plain = append(plain, millis(pods.startOf(t, batchv1.JobNameLabel, name).Sub(created)))
	}
	t.Logf("in ms: request to Job %.0f, request to pod %.0f, plain create to pod %.0f", object, ours, plain)
	s.figures.hold("job: request to Job object, p50", percentile(object, 50), holdJobObjectP50, "ms")
	s.figures.add("job: plain create to running pod", "%.0f ms p50, %.0f ms p99 of %d", percentile(plain, 50), percentile(plain, 99), count)
	s.figures.add("job: request to running pod", "%.0f ms p50, %.0f ms p99 of %d", percentile(ours, 50), percentile(ours, 99), count)
	s.figures.hold("job: request to running pod beyond a plain create, p50", percentile(ours, 50)-percentile(plain, 50), holdJobStartExtra, "ms")
}

// plainJob makes a Job as anybody would, waits until it is complete, and returns when it was sent.
func (s *system) plainJob(ctx context.Context, t *testing.T, d definition, name string) (sent time.Time) {
	t.Helper()
	grace := int64(1)
	plain := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{labelTest: madeByE2E}}, Spec: d.jobSpec(&grace)}
	jobs := s.kube.BatchV1().Jobs(s.kube.namespace)
	sent = time.Now()
	if _, err := jobs.Create(ctx, plain, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, "the Job "+name+" to complete", time.Minute, func(ctx context.Context) (bool, string) {
		j, err := jobs.Get(ctx, name, metav1.GetOptions{})
		return err == nil && !unfinished(j), fmt.Sprint(err)
	})
	background := metav1.DeletePropagationBackground
	if err := jobs.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Error(err)
	}
	return sent
}

// watchStarts follows the pods of the tests until the scenario ends.
func (s *system) watchStarts(ctx context.Context, t *testing.T) *podStarts {
	t.Helper()
	watcher, err := s.kube.CoreV1().Pods(s.kube.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: labelTest})
	if err != nil {
		t.Fatal(err)
	}
	p := &podStarts{at: map[string]map[string]time.Time{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watcher.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && pod.Status.Phase != corev1.PodPending {
				p.see(pod, time.Now())
			}
		}
	}()
	t.Cleanup(func() {
		watcher.Stop()
		<-done
	})
	return p
}

// podStarts tells when a pod was first seen to have left Pending, by the values of its labels.
type podStarts struct {
	mu sync.Mutex
	at map[string]map[string]time.Time // guarded by mu; by label and value
}

func (p *podStarts) see(pod *corev1.Pod, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for label, value := range pod.Labels {
		if p.at[label] == nil {
			p.at[label] = map[string]time.Time{}
		}
		if _, known := p.at[label][value]; !known {
			p.at[label][value] = now
		}
	}
}

// startOf is of the first pod with that value of the label, which must have started.
func (p *podStarts) startOf(t *testing.T, label, value string) time.Time {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.at[label][value]
	if !known {
		t.Fatalf("no pod with %s=%s was seen to start", label, value)
	}
	return at
}
