package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotations of a job's definition, and labels of its Jobs.
const (
	annotationJob         = "sluice/Job"
	annotationJobParallel = "sluice/NumberParallelJob"
	annotationJobDepends  = "sluice/DependsOn"
	annotationVisibility  = "sluice/DefaultVisibility"
	annotationJobPolicy   = "sluice/JobPolicy"
	labelDefinition       = "sluice/definition"
	labelRun              = "sluice/run-id"
)

// definition is a suspended CronJob whose one container is e2e/function as a batch.
type definition struct {
	name        string
	annotations map[string]string
	image       string
	backoff     int32
	ttl         *int32
}

// publicJob are the annotations of a definition that everybody may use: names and values in turn.
func publicJob(pairs ...string) map[string]string {
	annotations := map[string]string{annotationJob: "true", annotationVisibility: "Public"}
	for pair := range slices.Chunk(pairs, 2) {
		annotations[pair[0]] = pair[1]
	}
	return annotations
}

func (d definition) cronJob() *batchv1.CronJob {
	suspend, grace := true, int64(1)
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: d.name, Annotations: d.annotations, Labels: map[string]string{labelTest: madeByE2E}},
		Spec:       batchv1.CronJobSpec{Schedule: "0 0 1 1 *", Suspend: &suspend, JobTemplate: batchv1.JobTemplateSpec{Spec: d.jobSpec(&grace)}},
	}
}

func (d definition) jobSpec(grace *int64) batchv1.JobSpec {
	return batchv1.JobSpec{
		BackoffLimit: &d.backoff, TTLSecondsAfterFinished: d.ttl,
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{labelTest: madeByE2E}},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: grace,
				Containers: []corev1.Container{{
					Name: "batch", Image: d.image, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"/function", "batch"}, Args: []string{"10"},
				}},
			},
		},
	}
}

// define makes the definition, waits until every gateway has it unless it is private, and removes it and its Jobs when the scenario is over.
func (s *system) define(ctx context.Context, t *testing.T, d definition) definition {
	t.Helper()
	if d.image == "" {
		d.image = s.settings.functionImage
	}
	s.create(ctx, t, d.cronJob())
	if d.annotations[annotationVisibility] != "Public" {
		return d
	}
	until(ctx, t, "the gateways to know the job "+d.name, 30*time.Second, func(ctx context.Context) (bool, string) {
		gateways, err := s.component(ctx, "gateway")
		if err != nil || len(gateways) == 0 {
			return false, fmt.Sprintf("gateways %v %v", names(gateways), err)
		}
		for _, pod := range gateways {
			status, body, err := s.kube.send(ctx, proxied{resource: "pods", target: podTarget(pod.Name, 5000), path: "/jobs/" + d.name + "/runs"})
			if status != http.StatusOK {
				return false, fmt.Sprintf("%s answers %d %s %v", pod.Name, status, body, err)
			}
		}
		return true, ""
	})
	return d
}

const kindCronJob = "CronJob"

// create makes a definition, and removes it and its Jobs when the scenario is over.
func (s *system) create(ctx context.Context, t *testing.T, cron *batchv1.CronJob) {
	t.Helper()
	crons := s.kube.BatchV1().CronJobs(s.kube.namespace)
	if _, err := crons.Create(ctx, cron, metav1.CreateOptions{}); err != nil {
		t.Fatalf("make the definition %s: %v", cron.Name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := crons.Delete(ctx, cron.Name, metav1.DeleteOptions{}); ignoreNotFound(err) != nil {
			t.Errorf("remove the definition %s: %v", cron.Name, err)
		}
		background := metav1.DeletePropagationBackground
		err := s.kube.BatchV1().Jobs(s.kube.namespace).DeleteCollection(ctx, metav1.DeleteOptions{PropagationPolicy: &background},
			metav1.ListOptions{LabelSelector: labelDefinition + "=" + cron.Name})
		if err != nil {
			t.Errorf("remove the Jobs of %s: %v", cron.Name, err)
		}
	})
}

// run is a run as GET /jobs/{name}/runs/{id} tells it, as far as scenarios look at it.
type run struct {
	ID        string    `json:"runId"`
	Phase     string    `json:"phase"`
	Reason    string    `json:"reason"`
	Message   string    `json:"message"`
	JobName   string    `json:"jobName"`
	QueuedAt  time.Time `json:"queuedAt"`
	CreatedAt time.Time `json:"createdAt"`
	Moves     []struct {
		At    time.Time `json:"at"`
		Phase string    `json:"phase"`
	} `json:"moves"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	Pods       []struct {
		Name       string `json:"name"`
		Containers []struct {
			ExitCode *int `json:"exitCode"`
		} `json:"containers"`
	} `json:"pods"`
}

func (r run) final() bool {
	return slices.Contains([]string{"Succeeded", "Failed", "Cancelled", "Rejected"}, r.Phase)
}

// askJob sends a request for a run and returns its id.
func (s *system) askJob(ctx context.Context, t *testing.T, job, body string) string {
	t.Helper()
	id, _ := s.askJobTimed(ctx, t, job, body)
	return id
}

// askJobTimed also returns when it was sent, on the clock of the node.
func (s *system) askJobTimed(ctx context.Context, t *testing.T, job, body string) (id string, sent time.Time) {
	t.Helper()
	a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.gatewayURL() + "/job/" + job, Body: body}, http.StatusAccepted)
	var accepted struct{ ID string }
	if err := json.Unmarshal([]byte(a.Body), &accepted); err != nil || accepted.ID == "" {
		t.Fatalf("the answer to a request of %s is %q (%v), want an Id", job, a.Body, err)
	}
	return accepted.ID, a.Start
}

// awaitRun waits until the condition on the run is true.
func (s *system) awaitRun(ctx context.Context, t *testing.T, job, id, what string, condition func(run) bool) (r run) {
	t.Helper()
	until(ctx, t, fmt.Sprintf("run %s of %s: %s", id, job, what), 2*time.Minute, func(ctx context.Context) (bool, string) {
		r = run{}
		if err := s.kube.readJSON(ctx, proxied{resource: "services", target: serviceGateway + ":http", path: "/jobs/" + job + "/runs/" + id}, &r); err != nil {
			return false, err.Error()
		}
		return condition(r), fmt.Sprintf("%+v", r)
	})
	return r
}

// awaitEnd waits until the run has ended, in that phase.
func (s *system) awaitEnd(ctx context.Context, t *testing.T, job, id, phase string) run {
	t.Helper()
	r := s.awaitRun(ctx, t, job, id, "an end", run.final)
	if r.Phase != phase {
		t.Errorf("the run %s of %s has ended as %+v, want %s", id, job, r, phase)
	}
	return r
}

// output is what GET …/logs answers.
func (s *system) output(ctx context.Context, t *testing.T, job, id string) string {
	t.Helper()
	status, body, err := s.kube.send(ctx, proxied{resource: "services", target: serviceGateway + ":http", path: "/jobs/" + job + "/runs/" + id + "/logs"})
	if err != nil || status != http.StatusOK {
		t.Fatalf("the output of run %s of %s: %d %s %v", id, job, status, body, err)
	}
	return string(body)
}

// jobsOf are the Jobs of a definition.
func (s *system) jobsOf(ctx context.Context, t *testing.T, name string) []batchv1.Job {
	t.Helper()
	list, err := s.kube.BatchV1().Jobs(s.kube.namespace).List(ctx, metav1.ListOptions{LabelSelector: labelDefinition + "=" + name})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// podsOfRun are the pods of a run.
func (s *system) podsOfRun(ctx context.Context, t *testing.T, id string) []corev1.Pod {
	t.Helper()
	list, err := s.kube.CoreV1().Pods(s.kube.namespace).List(ctx, metav1.ListOptions{LabelSelector: labelRun + "=" + id})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func unfinished(j *batchv1.Job) bool {
	return !slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// args is a request with arguments.
func args(all ...string) string {
	text, _ := json.Marshal(map[string]any{"Args": all}) // strings can be written
	return string(text)
}

func hasLine(text, line string) bool { return slices.Contains(strings.Split(text, "\n"), line) }
