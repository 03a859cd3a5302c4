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

// asked makes a call in the background; the channel has its answer.
func (s *system) asked(ctx context.Context, c call) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		a, err := s.load.do(ctx, c)
		if err != nil {
			a.Error = err.Error()
		}
		answers <- a
	}()
	return answers
}

// syncCallOfKilledPod kills the process under a sync call, which has one attempt: its caller is told at once.
func (s *system) syncCallOfKilledPod(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "killed-sync", replicas: 1, annotations: annotated()})
	s.kube.awaitPods(ctx, t, f.name, 1)
	answers := s.asked(ctx, call{Method: http.MethodPost, URL: s.sync(f.name, "/work?ms=20000")})
	pod := s.kube.awaitInFlight(ctx, t, f.name)
	killed := time.Now()
	s.kill(ctx, t, pod)
	a := <-answers
	if a.Status != http.StatusBadGateway || !strings.Contains(a.Body, "urn:sluice:problem:function-broke-off") {
		t.Errorf("got %v, want 502 function-broke-off", a)
	}
	if took := time.Since(killed); took > 15*time.Second { // the call itself would last 20 s
		t.Errorf("the answer came %s after the kill", took)
	}
	// Until the kubelet has seen it, the pod counts as ready: calls are refused there, and told to come again.
	until(ctx, t, "an answer again", 30*time.Second, func(ctx context.Context) (bool, string) {
		a, err := s.load.do(ctx, call{Method: http.MethodPost, URL: s.sync(f.name, "/work")})
		if err == nil && a.Status != http.StatusOK && a.Header.Get("Retry-After") == "" {
			t.Errorf("an answer without Retry-After: %v", a)
		}
		return err == nil && a.Status == http.StatusOK, fmt.Sprint(a, err)
	})
}

// retried are the annotations of a function whose failed calls are tried again soon.
func retried(pairs ...string) map[string]string {
	return annotated(append(pairs, annotationConfigured, `{"DefaultAsync":{"HttpTimeout":60,"TimeoutRetries":[1,1,1,1]}}`)...)
}

// asyncCallOfKilledPod kills the process under an async call, which is tried again at the other pod.
func (s *system) asyncCallOfKilledPod(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "killed-async", replicas: 2, annotations: retried()})
	s.kube.awaitPods(ctx, t, f.name, 2)
	a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.async(f.name, "/work?ms=3000")}, http.StatusAccepted)
	pod := s.kube.awaitInFlight(ctx, t, f.name)
	s.kill(ctx, t, pod)
	if got := s.awaitDelivered(ctx, t, f.name, a.Header.Get("X-Call-Id")); got.Try < 1 {
		t.Errorf("the call that was killed has ended as %+v, want a further try", got)
	}
	s.awaitEmpty(ctx, t, f.name)
}

// deletedPod has somebody delete one of two pods under load. The pod goes on serving for some seconds, as a function may, so that what
// still reaches it can be seen.
func (s *system) deletedPod(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{
		name: "deleted", replicas: 2, annotations: annotated(annotationMin, "2"), env: map[string]string{"STOP_DELAY": "20"},
	})
	pod := s.kube.awaitPods(ctx, t, f.name, 2)[0]
	load := spec{URL: s.sync(f.name, "/work?ms=5"), Concurrency: 4, Rate: 50}
	s.load.start(ctx, t, "deleted-sync", load)
	load.URL = s.async(f.name, "/work?ms=5")
	s.load.start(ctx, t, "deleted-async", load)
	s.awaitCount(ctx, t, pod, 20)
	long := s.asked(ctx, call{Method: http.MethodPost, URL: s.sync(f.name, "/work?ms=2500")})
	_ = s.kube.awaitInFlight(ctx, t, f.name)
	began := time.Now()
	if err := s.kube.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ledger := s.lastLedger(ctx, t, pod)
	sync, async := s.load.stop(ctx, t, "deleted-sync"), s.load.stop(ctx, t, "deleted-async")
	if a := <-long; a.Status != http.StatusOK {
		t.Errorf("the long call ended with %v, want 200", a)
	}
	last := time.Duration(slices.MaxFunc(ledger, func(a, b record) int { return int(a.Start - b.Start) }).Start - began.UnixNano())
	s.figures.add("last call that reached a pod after somebody began to delete it", "%.0f ms", float64(max(last, 0))/1e6)
	if last > 10*time.Second { // otherwise until the pod stops, which is in 20 s
		t.Errorf("a new call reached the pod %s after its deletion had begun", last)
	}
	if sync.failed() > 0 || async.failed() > 0 {
		t.Errorf("calls failed: sync %v, async %v", sync, async)
	}
	s.awaitEmpty(ctx, t, f.name)
	compare(t, async.Accepted, append(s.kube.records(ctx, t, s.readyOf(ctx, t, f.name)...), ledger...), -1)
}

func (s *system) readyOf(ctx context.Context, t *testing.T, app string) []corev1.Pod {
	t.Helper()
	pods, err := s.kube.readyPods(ctx, app)
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

// awaitCount waits until the pod has had that many calls.
func (s *system) awaitCount(ctx context.Context, t *testing.T, pod corev1.Pod, count int) {
	t.Helper()
	until(ctx, t, fmt.Sprintf("%d calls at %s", count, pod.Name), 30*time.Second, func(ctx context.Context) (bool, string) {
		now, err := s.kube.stats(ctx, pod.Name)
		return err == nil && now.Count >= count, fmt.Sprintf("%+v %v", now, err)
	})
}

// lastLedger reads the ledger of a pod that ends as late as it can.
func (s *system) lastLedger(ctx context.Context, t *testing.T, pod corev1.Pod) []record {
	t.Helper()
	var told int64
	until(ctx, t, "SIGTERM at "+pod.Name, 30*time.Second, func(ctx context.Context) (bool, string) {
		now, err := s.kube.stats(ctx, pod.Name)
		told = now.Told
		return err == nil && told > 0, fmt.Sprintf("%+v %v", now, err)
	})
	var last []record
	throughout(ctx, t, pod.Name+" to be read", time.Until(time.Unix(0, told).Add(5*time.Second)), func(ctx context.Context) (bool, string) {
		ledger, err := s.kube.ledger(ctx, pod.Name)
		if err == nil {
			last = ledger
		}
		return err == nil, fmt.Sprint(err)
	})
	return last
}
