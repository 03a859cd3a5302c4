package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// apiServerStopped stops the API server under load. Calls to functions that are awake go on, nothing is scaled by guess, and when it is back
// everything catches up: the sleeping one wakes, the idle one goes to zero.
func (s *system) apiServerStopped(ctx context.Context, t *testing.T) {
	if s.node == nil {
		t.Skip("the API server of this cluster cannot be stopped")
	}
	// Its timeout is shorter than the outage: that calls go on is what keeps it awake. So nothing here holds the count but the truth.
	awake := s.deployKnown(ctx, t, function{name: "api-awake", replicas: 2, annotations: retried(annotationTimeout, "20", annotationParallel, "20")})
	idle := s.deployKnown(ctx, t, function{name: "api-idle", replicas: 1, annotations: annotated(annotationTimeout, "30")})
	asleep := s.deployKnown(ctx, t, function{name: "api-asleep", annotations: retried()})
	probe := s.deploy(ctx, t, function{name: "api-probe"})
	pods := s.kube.awaitPods(ctx, t, awake.name, 2)
	scalers := s.running(ctx, t, "scaler")

	s.load.start(ctx, t, "api-sync", spec{URL: s.sync(awake.name, "/work?ms=5"), Concurrency: 4, Rate: 20, TimeoutSeconds: 40})
	s.load.start(ctx, t, "api-async", spec{URL: s.async(awake.name, "/work?ms=5"), Concurrency: 4, Rate: 20, TimeoutSeconds: 40})
	s.awaitCount(ctx, t, pods[0], 20)
	before := s.workloads(ctx, t, awake)
	// Nobody can order it when the API server is away.
	s.load.start(ctx, t, "api-asleep", spec{URL: s.async(asleep.name, "/work?ms=5"), Rate: 1, DelaySeconds: 10})
	s.kube.awaitPods(ctx, t, idle.name, 1)
	stopped := s.outage(ctx, t)

	back := time.Now()
	queued := s.load.stop(ctx, t, "api-asleep")
	s.scaleProbe(ctx, t, probe)
	s.awaitService(ctx, t)
	s.figures.add("API server back: until a pod reaches it through its Service", "%.1f s", time.Since(back).Seconds())
	until(ctx, t, "a replica asked for by the scaler, for the queued calls", 15*time.Second, func(ctx context.Context) (bool, string) {
		w, err := s.kube.workload(ctx, asleep.kind, asleep.name)
		return err == nil && w.replicas > 0, fmt.Sprint(w, err)
	})
	s.figures.add("API server back: until the scaler asks for a replica of a sleeping function with queued calls", "%.1f s", time.Since(back).Seconds())
	s.awaitReady(ctx, t, probe, catchUp)
	s.figures.add("API server back: until the kubelet starts pods again", "%.1f s", time.Since(back).Seconds())
	s.awaitReady(ctx, t, asleep, 15*time.Second)
	s.figures.add("API server back: until the sleeping function is awake", "%.1f s", time.Since(back).Seconds())
	s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.sync(asleep.name, "/work")}, http.StatusOK)
	if after := s.workloads(ctx, t, awake); after != before {
		t.Errorf("%s was scaled around the outage: %+v, before %+v", awake.name, after, before)
	}
	s.awaitEmpty(ctx, t, asleep.name)
	compare(t, queued.Accepted, s.kube.records(ctx, t, s.readyOf(ctx, t, asleep.name)...), -1)
	s.kube.awaitZero(ctx, t, idle)
	s.figures.add("API server back: until an idle function is at zero", "%.1f s", time.Since(back).Seconds())

	sync, async := s.load.stop(ctx, t, "api-sync"), s.load.stop(ctx, t, "api-async")
	t.Logf("sync: %v\nasync: %v\nto the sleeping one: %v", sync, async, queued)
	if failed := sync.failed() + async.failed() + queued.failed(); failed > 0 {
		t.Errorf("%d calls failed around the outage; if NATS did not answer, look whether the disk stood still: the servers' logs say that requests took too long", failed)
	}
	s.samePods(ctx, t, awake, pods)
	s.sameScalers(ctx, t, scalers)
	s.awaitEmpty(ctx, t, awake.name)
	records := s.kube.records(ctx, t, pods...)
	again := compare(t, async.Accepted, records, -1)
	s.figures.add("API server stopped for "+s.settings.apiDown.String(), "longest time without a sync answer %.0f ms, without a 202 %.0f ms, without a delivery %d ms; %d accepted, 0 lost, %d delivered again",
		sync.LongestGap.Millis, async.LongestGap.Millis, longestPause(records, stopped, back).Milliseconds(), len(async.Accepted), again)
	s.kube.awaitZero(ctx, t, awake)
}

// catchUp is how long the cluster itself may take to notice that the API server is back: Kubernetes' own clients ask again after up to a
// minute when it was away for long (the reflectors' back-off in client-go).
const catchUp = 3 * time.Minute

// scaleProbe asks for a pod of a Deployment that is no function, which tells when the cluster has caught up.
func (s *system) scaleProbe(ctx context.Context, t *testing.T, probe function) {
	t.Helper()
	one := []byte(`{"spec":{"replicas":1}}`)
	_, err := s.kube.AppsV1().Deployments(s.kube.namespace).Patch(ctx, probe.name, types.MergePatchType, one, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// awaitService waits until a pod reaches the API server as the scaler does. That it answers plain HTTP with an error is enough.
func (s *system) awaitService(ctx context.Context, t *testing.T) {
	t.Helper()
	until(ctx, t, "the Service of the API server", catchUp, func(ctx context.Context) (bool, string) {
		a, err := s.load.do(ctx, call{Method: http.MethodGet, URL: "http://kubernetes.default.svc.cluster.local:443/", TimeoutSeconds: 2})
		return err == nil && a.Status > 0, fmt.Sprint(a, err)
	})
}

// awaitReady waits for a ready pod of the app.
func (s *system) awaitReady(ctx context.Context, t *testing.T, f function, limit time.Duration) {
	t.Helper()
	until(ctx, t, "a ready pod of "+f.name, limit, func(ctx context.Context) (bool, string) {
		ready, err := s.kube.readyPods(ctx, f.name)
		return len(ready) > 0, fmt.Sprint(names(ready), err)
	})
}

// outage stops the API server for its time and returns when it had stopped.
func (s *system) outage(ctx context.Context, t *testing.T) time.Time {
	t.Helper()
	if err := s.node.StopAPI(ctx); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	started := false
	defer func() {
		if !started { // the scenarios after this one need it
			if err := s.node.StartAPI(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		}
	}()
	throughout(ctx, t, "no API server", s.settings.apiDown, func(ctx context.Context) (bool, string) {
		_, err := s.kube.Discovery().ServerVersion()
		return err != nil, "it answers"
	})
	if err := s.node.StartAPI(ctx); err != nil {
		t.Fatal(err)
	}
	started = true
	until(ctx, t, "the API server", time.Minute, func(context.Context) (bool, string) {
		_, err := s.kube.Discovery().ServerVersion()
		return err == nil, errorText(err)
	})
	return stopped
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// workloads is the function's Deployment as it was asked to be.
func (s *system) workloads(ctx context.Context, t *testing.T, f function) workload {
	t.Helper()
	var w workload
	until(ctx, t, "the Deployment "+f.name, 30*time.Second, func(ctx context.Context) (bool, string) {
		var err error
		w, err = s.kube.workload(ctx, f.kind, f.name)
		return err == nil, errorText(err)
	})
	w.present = 0 // what the status says may lag behind
	return w
}

func (s *system) samePods(ctx context.Context, t *testing.T, f function, before []corev1.Pod) {
	t.Helper()
	now := s.kube.awaitPods(ctx, t, f.name, len(before))
	for i := range now {
		if now[i].UID != before[i].UID || restarts(now[i]) != restarts(before[i]) {
			t.Errorf("the pods of %s are %v, before the outage %v", f.name, names(now), names(before))
		}
	}
}

// sameScalers holds that no scaler gave up: one that cannot renew its Lease stops writing and stays up.
func (s *system) sameScalers(ctx context.Context, t *testing.T, before []corev1.Pod) {
	t.Helper()
	now := s.running(ctx, t, "scaler")
	if len(now) != len(before) {
		t.Errorf("the scalers are %v, before the outage %v", names(now), names(before))
		return
	}
	for i := range now {
		if now[i].UID != before[i].UID || restarts(now[i]) != restarts(before[i]) {
			t.Errorf("the scaler %s is %s, before the outage %s", now[i].Name, state(now[i]), state(before[i]))
		}
	}
}
