package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// jobRuns asks for runs over HTTP and over NATS, and looks at what is left when their Jobs are gone.
func (s *system) jobRuns(ctx context.Context, t *testing.T) {
	soon := int32(3)
	d := s.define(ctx, t, definition{name: "runs", annotations: publicJob(), ttl: &soon})
	id := s.askJob(ctx, t, d.name, args("10", "20"))
	r := s.awaitEnd(ctx, t, d.name, id, "Succeeded")
	if len(r.Pods) != 1 || len(r.Pods[0].Containers) != 1 || r.Pods[0].Containers[0].ExitCode == nil || *r.Pods[0].Containers[0].ExitCode != 0 {
		t.Errorf("the run is %+v, want one pod with exit code 0", r)
	}
	failed := s.awaitEnd(ctx, t, d.name, s.askJob(ctx, t, d.name, args("exit=3")), "Failed")
	if len(failed.Pods) != 1 || *failed.Pods[0].Containers[0].ExitCode != 3 {
		t.Errorf("the run that failed is %+v, want exit code 3", failed)
	}
	until(ctx, t, "the Job to go after its TTL", time.Minute, func(ctx context.Context) (bool, string) {
		left := s.jobsOf(ctx, t, d.name)
		return len(left) == 0, fmt.Sprintf("%d Jobs", len(left))
	})
	if text := s.output(ctx, t, d.name, id); !hasLine(text, "Fibonacci for 10 is 55") || !hasLine(text, "Fibonacci for 20 is 6765") {
		t.Errorf("the output that was kept is %q", text)
	}
	s.awaitEnd(ctx, t, d.name, id, "Succeeded") // the record is kept as well
}

// jobPublished has another service publish a request straight to NATS.
func (s *system) jobPublished(ctx context.Context, t *testing.T) {
	d := s.define(ctx, t, definition{name: "by-nats", annotations: map[string]string{annotationJob: "true"}}) // private: NATS users are inside
	publisher := s.deploy(ctx, t, s.publisher(ctx, t))
	pod := s.kube.awaitPods(ctx, t, publisher.name, 1)[0]
	err := s.kube.readJSON(ctx, proxied{
		method: http.MethodPost, resource: "pods", target: podTarget(pod.Name, functionPort), path: "/publish",
		body: map[string]any{"subject": "sluice.job." + d.name, "body": args("5"), "ack": true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	until(ctx, t, "the Job of the message to complete", time.Minute, func(ctx context.Context) (bool, string) {
		jobs := s.jobsOf(ctx, t, d.name)
		return len(jobs) == 1 && jobs[0].Status.Succeeded == 1, fmt.Sprintf("%d Jobs", len(jobs))
	})
	a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.gatewayURL() + "/job/no-such-job"}, http.StatusNotFound)
	if !strings.Contains(a.Body, "urn:sluice:problem:job-not-found") {
		t.Errorf("an unknown job is answered %v", a)
	}
}

// jobLimit asks for more runs than may be unfinished.
func (s *system) jobLimit(ctx context.Context, t *testing.T) {
	const parallel, runs = 2, 6
	d := s.define(ctx, t, definition{name: "limited", annotations: publicJob(annotationJobParallel, fmt.Sprint(parallel))})
	most := s.watchJobs(ctx, t, d.name)
	var ids []string
	for range runs {
		ids = append(ids, s.askJob(ctx, t, d.name, args("sleep=1s")))
	}
	s.checkPositions(ctx, t, d.name)
	for _, id := range ids {
		s.awaitEnd(ctx, t, d.name, id, "Succeeded")
	}
	if got := most.unfinished(); got != parallel {
		t.Errorf("%d Jobs were unfinished at a time, want %d", got, parallel)
	}
}

// checkPositions looks at the list in SlimFaas's shape while runs are queued: positions begin with 1.
func (s *system) checkPositions(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	a := s.load.mustDo(ctx, t, call{Method: http.MethodGet, URL: s.gatewayURL() + "/job/" + name}, http.StatusOK)
	var listed []struct {
		ID              string `json:"Id"`
		Status          string
		PositionInQueue int
	}
	if err := json.Unmarshal([]byte(a.Body), &listed); err != nil {
		t.Fatalf("%v in %s", err, a.Body)
	}
	seen := map[int]bool{}
	for _, r := range listed {
		if (r.Status == "Queued") != (r.PositionInQueue > 0) {
			t.Errorf("listed is %+v: only what is queued has a position", r)
		}
		seen[r.PositionInQueue] = true
	}
	if !seen[1] {
		t.Errorf("no run is the first in the queue: %s", a.Body)
	}
}

// jobsSeen is an audit of the Jobs of one definition, by a watch of the API.
type jobsSeen struct {
	mu   sync.Mutex
	open map[string]bool // guarded by mu, with all
	most int
	// made are the UIDs of each run's Jobs, and at is when the first was seen.
	made map[string][]string
	at   map[string]time.Time
}

// watchJobs follows the Jobs of a definition until the scenario ends.
func (s *system) watchJobs(ctx context.Context, t *testing.T, name string) *jobsSeen {
	t.Helper()
	watcher, err := s.kube.BatchV1().Jobs(s.kube.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: labelDefinition + "=" + name})
	if err != nil {
		t.Fatal(err)
	}
	seen := &jobsSeen{open: map[string]bool{}, made: map[string][]string{}, at: map[string]time.Time{}}
	var follower sync.WaitGroup
	follower.Go(func() {
		for event := range watcher.ResultChan() {
			if j, ok := event.Object.(*batchv1.Job); ok {
				seen.see(event.Type, j, time.Now())
			}
		}
	})
	t.Cleanup(func() {
		watcher.Stop()
		follower.Wait()
	})
	return seen
}

func (j *jobsSeen) see(kind watch.EventType, object *batchv1.Job, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	uid, id := string(object.UID), object.Labels[labelRun]
	if kind == watch.Added {
		j.made[id] = append(j.made[id], uid)
		if j.at[id].IsZero() {
			j.at[id] = now
		}
	}
	delete(j.open, uid)
	if kind != watch.Deleted && unfinished(object) {
		j.open[uid] = true
	}
	j.most = max(j.most, len(j.open))
}

func (j *jobsSeen) unfinished() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.most
}

// jobsOf are the UIDs of the run's Jobs.
func (j *jobsSeen) jobsOf(id string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.made[id]
}

// seenAt is when the run's first Job was seen, zero if none was.
func (j *jobsSeen) seenAt(id string) time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.at[id]
}

// jobCancelled cancels one run that is queued and one that runs.
func (s *system) jobCancelled(ctx context.Context, t *testing.T) {
	d := s.define(ctx, t, definition{name: "cancelled", annotations: publicJob()})
	running := s.askJob(ctx, t, d.name, args("sleep=10m"))
	queued := s.askJob(ctx, t, d.name, args("1"))
	s.awaitRun(ctx, t, d.name, running, "it runs", func(r run) bool { return r.Phase == "Running" })
	for _, id := range []string{queued, running} {
		s.load.mustDo(ctx, t, call{Method: http.MethodDelete, URL: s.gatewayURL() + "/job/" + d.name + "/" + id}, http.StatusOK)
	}
	s.awaitEnd(ctx, t, d.name, queued, "Cancelled")
	s.awaitEnd(ctx, t, d.name, running, "Cancelled")
	if left := len(s.podsOfRun(ctx, t, running)); left != 0 {
		t.Errorf("%d pods are there although the run is cancelled", left)
	}
	if jobs := s.jobsOf(ctx, t, d.name); len(jobs) != 0 {
		t.Errorf("%d Jobs are there, want none: the queued run never had one, the other's is deleted", len(jobs))
	}
	s.load.mustDo(ctx, t, call{Method: http.MethodDelete, URL: s.gatewayURL() + "/job/" + d.name + "/no-such-run"}, http.StatusNotFound)
}

// jobMissingImage asks for a run whose image nobody has, and that may take a while to start.
func (s *system) jobMissingImage(ctx context.Context, t *testing.T) {
	d := s.define(ctx, t, definition{
		name: "no-image-job", image: "registry.invalid/missing:1", annotations: publicJob(annotationJobPolicy, "startDeadlineSeconds: 15"),
	})
	id := s.askJob(ctx, t, d.name, "")
	r := s.awaitRun(ctx, t, d.name, id, "the image as the reason", func(r run) bool {
		return r.Phase == "Pending" && strings.Contains(r.Reason, "ImagePull")
	})
	t.Logf("shown: %s %q", r.Reason, r.Message)
	r = s.awaitEnd(ctx, t, d.name, id, "Failed")
	if r.Reason != "StartDeadlineExceeded" || !strings.Contains(r.Message, "registry.invalid/missing:1") {
		t.Errorf("it has ended as %+v, want StartDeadlineExceeded with the image", r)
	}
	if jobs := s.jobsOf(ctx, t, d.name); len(jobs) != 0 {
		t.Errorf("%d Jobs are left", len(jobs))
	}
}

// jobQuota asks for a run for which the namespace has no room, until it has.
func (s *system) jobQuota(ctx context.Context, t *testing.T) {
	d := s.define(ctx, t, definition{name: "no-quota-job", annotations: publicJob()})
	quotas := s.kube.CoreV1().ResourceQuotas(s.kube.namespace)
	none := corev1.ResourceList{"count/jobs.batch": resource.MustParse("0")}
	_, err := quotas.Create(ctx, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "no-jobs"}, Spec: corev1.ResourceQuotaSpec{Hard: none}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	remove := sync.OnceValue(func() error { return quotas.Delete(context.WithoutCancel(ctx), "no-jobs", metav1.DeleteOptions{}) })
	defer func() { _ = remove() }()
	until(ctx, t, "the quota in force", 30*time.Second, func(ctx context.Context) (bool, string) {
		quota, err := quotas.Get(ctx, "no-jobs", metav1.GetOptions{})
		return err == nil && len(quota.Status.Hard) > 0, fmt.Sprint(err)
	})
	id := s.askJob(ctx, t, d.name, args("3"))
	r := s.awaitRun(ctx, t, d.name, id, "the quota as the reason", func(r run) bool { return r.Reason == "JobQuotaExceeded" })
	t.Logf("shown: %s %q", r.Phase, r.Message)
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	s.awaitEnd(ctx, t, d.name, id, "Succeeded")
}

// jobDependency asks for a run whose dependency is at zero: it is woken, kept awake while the run lasts, and goes back to zero.
func (s *system) jobDependency(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "needed", annotations: annotated(annotationTimeout, "2")})
	s.awaitAsleep(ctx, t, f)
	d := s.define(ctx, t, definition{name: "needs", annotations: publicJob(annotationJobDepends, f.name)})
	id := s.askJob(ctx, t, d.name, args("sleep=8s"))
	s.awaitRun(ctx, t, d.name, id, "it runs", func(r run) bool { return r.Phase == "Running" })
	throughout(ctx, t, f.name+" awake while the run needs it", 6*time.Second, func(ctx context.Context) (bool, string) {
		pods, err := s.kube.readyPods(ctx, f.name)
		return err == nil && len(pods) == 1, fmt.Sprint(names(pods), err)
	})
	s.awaitEnd(ctx, t, d.name, id, "Succeeded")
	s.kube.awaitZero(ctx, t, f)
}

// jobPodKilled kills the process of a run: its Job has one further pod.
func (s *system) jobPodKilled(ctx context.Context, t *testing.T) {
	d := s.define(ctx, t, definition{name: "killed-job", annotations: publicJob(), backoff: 1})
	seen := s.watchJobs(ctx, t, d.name)
	id := s.askJob(ctx, t, d.name, args("sleep=6s"))
	s.awaitRun(ctx, t, d.name, id, "it runs", func(r run) bool { return r.Phase == "Running" })
	s.kill(ctx, t, s.podsOfRun(ctx, t, id)...)
	r := s.awaitEnd(ctx, t, d.name, id, "Succeeded")
	if len(r.Pods) != 2 || len(seen.jobsOf(id)) != 1 {
		t.Errorf("the run had %d pods of %d Jobs, want 2 of 1: %+v", len(r.Pods), len(seen.jobsOf(id)), r)
	}
}
