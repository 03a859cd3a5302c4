package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (s *system) syncFromZero(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "sync-zero", annotations: annotated(annotationTimeout, "5")})
	a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.sync(f.name, "/work?ms=1"), Body: "x"}, http.StatusOK)
	if a.Header.Get("Sluice-Cold-Start") != "true" || a.Header.Get("X-Call-Id") == "" {
		t.Errorf("the headers %v do not tell of a cold start", a.Header)
	}
	if !strings.Contains(a.Body, a.Header.Get("X-Call-Id")) {
		t.Errorf("the function has seen another id: %s", a.Body)
	}
	again := s.load.mustDo(ctx, t, call{Method: http.MethodGet, URL: s.sync(f.name, "/work")}, http.StatusOK)
	if again.Header.Get("Sluice-Cold-Start") != "false" {
		t.Errorf("the headers %v of the second call do not say that it was warm", again.Header)
	}
	s.kube.awaitZero(ctx, t, f)
	if decision := s.awaitDescription(ctx, t, f.name, "zero", func(d description) bool { return d.Replicas == 0 }).lastDecision(); !strings.Contains(decision, "no call for 5s") {
		t.Errorf("the decision that ended it is %q", decision)
	}
}

func (s *system) asyncFromZero(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "async-zero", annotations: annotated(annotationTimeout, "30")})
	a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.async(f.name, "/work?ms=1"), Body: "x"}, http.StatusAccepted)
	s.awaitDelivered(ctx, t, f.name, a.Header.Get("X-Call-Id"))
	s.awaitEmpty(ctx, t, f.name)
}

// awaitDelivered waits until a pod of the function has seen the call.
func (s *system) awaitDelivered(ctx context.Context, t *testing.T, app, id string) record {
	t.Helper()
	var found record
	until(ctx, t, fmt.Sprintf("the delivery of %q to %s", id, app), time.Minute, func(ctx context.Context) (bool, string) {
		pods, err := s.kube.readyPods(ctx, app)
		if err != nil {
			return false, err.Error()
		}
		for _, pod := range pods {
			ledger, err := s.kube.ledger(ctx, pod.Name)
			if err != nil {
				return false, err.Error()
			}
			if i := slices.IndexFunc(ledger, func(r record) bool { return id == "" || r.ID == id }); i >= 0 && ledger[i].End > 0 {
				found = ledger[i]
				return true, ""
			}
		}
		return false, fmt.Sprint(names(pods))
	})
	return found
}

func (s *system) statefulSet(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "stateful", kind: kindStatefulSet, annotations: annotated(annotationTimeout, "3", annotationStart, "2")})
	a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.sync(f.name, "/work")}, http.StatusOK)
	if !strings.Contains(a.Body, "stateful-0") && !strings.Contains(a.Body, "stateful-1") {
		t.Errorf("the answer is of %s, want one of the set's pods", a.Body)
	}
	queued := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.async(f.name, "/work")}, http.StatusAccepted)
	s.awaitDelivered(ctx, t, f.name, queued.Header.Get("X-Call-Id"))
	s.kube.awaitZero(ctx, t, f)
}

// publishWakes has another service, which knows NATS and its password and nothing of Sluice, publish a call.
func (s *system) publishWakes(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "published", annotations: annotated(annotationTimeout, "30")})
	publisher := s.deploy(ctx, t, s.publisher(ctx, t))
	pod := s.kube.awaitPods(ctx, t, publisher.name, 1)[0]
	var stored struct{ Sequence uint64 }
	err := s.kube.readJSON(ctx, proxied{
		method: http.MethodPost, resource: "pods", target: podTarget(pod.Name, functionPort), path: "/publish", body: map[string]any{
			"subject": "sluice.call." + f.name, "body": "hello", "ack": true,
			"header": map[string]string{"Sluice-Method": "PUT", "Sluice-Path": "/work", "Sluice-Query": "ms=1"},
		},
	}, &stored)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.awaitDelivered(ctx, t, f.name, ""); !got.Async || got.ID == "" || stored.Sequence == 0 {
		t.Errorf("the function has seen %+v of the message %d, want an async call with an id", got, stored.Sequence)
	}
}

// publisher is the service with the credentials of the user client.
func (s *system) publisher(ctx context.Context, t *testing.T) function {
	t.Helper()
	secret, err := s.kube.CoreV1().Secrets(s.kube.namespace).Get(ctx, secretNATS, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	password := string(secret.Data["client"])
	if password == "" {
		t.Fatalf("the Secret %s has no key client, but %v", secretNATS, keys(secret))
	}
	return function{name: "publisher", mode: "publish", replicas: 1, env: map[string]string{
		"NATS_URL": natsURL, "NATS_USER": "client", "NATS_PASSWORD": password,
	}}
}

func keys(secret *corev1.Secret) (all []string) {
	for key := range secret.Data {
		all = append(all, key)
	}
	return all
}

// threeStayThree deploys three replicas, as an operator would who expects calls.
func (s *system) threeStayThree(ctx context.Context, t *testing.T) {
	const timeout = 12 * time.Second
	created := time.Now()
	f := s.deployKnown(ctx, t, function{name: "three", replicas: 3, annotations: annotated(annotationTimeout, "12")})
	s.kube.awaitPods(ctx, t, f.name, 3)
	throughout(ctx, t, "three replicas until the timeout", time.Until(created.Add(timeout)), func(ctx context.Context) (bool, string) {
		w, err := s.kube.workload(ctx, f.kind, f.name)
		if err != nil {
			return false, err.Error()
		}
		pods, err := s.kube.readyPods(ctx, f.name)
		if err != nil {
			return false, err.Error()
		}
		return w.replicas == 3 && len(pods) == 3, fmt.Sprintf("%+v, pods %v", w, names(pods))
	})
	s.kube.awaitZero(ctx, t, f)
	if late := time.Since(created) - timeout; late > 15*time.Second {
		t.Errorf("it went to zero %s after its timeout", late)
	}
}

// limits are those of a function of three replicas, which has a thousand calls to do.
func (s *system) thousandKeepLimits(ctx context.Context, t *testing.T) {
	const count, parallel, perPod = 1000, 10, 4
	f := s.deployKnown(ctx, t, function{name: "thousand", together: true, annotations: annotated(
		annotationStart, "3", annotationParallel, fmt.Sprint(parallel), annotationPerPod, fmt.Sprint(perPod), annotationTimeout, "120")})
	s.load.start(ctx, t, "thousand", spec{URL: s.async(f.name, "/work?ms=20"), Count: count, Concurrency: 32})
	r := s.load.await(ctx, t, "thousand", time.Minute)
	if len(r.Accepted) != count || r.failed() > 0 {
		t.Fatalf("not all calls were accepted: %v", r)
	}
	s.awaitEmpty(ctx, t, f.name)
	pods := s.kube.awaitPods(ctx, t, f.name, 3)
	records := s.kube.records(ctx, t, pods...)
	compare(t, r.Accepted, records, 0)
	for _, pod := range pods {
		own := slices.DeleteFunc(slices.Clone(records), func(r record) bool { return r.pod != pod.Name })
		if got := most(own); got > perPod || len(own) == 0 {
			t.Errorf("%s had %d of %d calls at once, want at most %d", pod.Name, got, len(own), perPod)
		}
	}
	if got := most(records); got > parallel || got < parallel/2 {
		t.Errorf("the function had %d calls at once, want at most %d and not much less", got, parallel)
	}
}

// most is how many of the calls ran at the same time.
func most(records []record) int {
	type edge struct {
		at   int64
		step int
	}
	var edges []edge
	for _, r := range records {
		if r.End > 0 {
			edges = append(edges, edge{r.Start, 1}, edge{r.End, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.step - b.step // an end first
	})
	running, highest := 0, 0
	for _, e := range edges {
		running += e.step
		highest = max(highest, running)
	}
	return highest
}
