package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Cold starts: so many functions take turns, so that each has time to get back to zero.
const (
	coldFunctions  = 6
	coldStarts     = 60
	coldStartsFew  = 18
	holdColdP50    = 60.0
	holdColdP99    = 200.0
	burstCalls     = 1000
	burstParallel  = 10
	burstRounds    = 3
	holdBurstRatio = 1.3
)

// coldStart measures sync calls to functions at zero, beside what the pod itself needed: from its creation until it was ready, as a watch
// of the pods sees it.
func (s *system) coldStart(ctx context.Context, t *testing.T) {
	var functions []function
	for i := range coldFunctions {
		functions = append(functions, s.deployKnown(ctx, t, function{name: fmt.Sprintf("cold-%d", i), annotations: annotated(annotationTimeout, "1")}))
	}
	births := s.watchBirths(ctx, t)
	count := coldStarts
	if testing.Short() {
		count = coldStartsFew
	}
	var whole, own, extra, before []float64
	for n := range count {
		f := functions[n%coldFunctions]
		s.awaitAsleep(ctx, t, f)
		a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.sync(f.name, "/work")}, http.StatusOK)
		took, pod := a.End.Sub(a.Start), births.newest(t, f.name)
		whole, own, extra = append(whole, millis(took)), append(own, millis(pod.took())), append(extra, millis(took-pod.took()))
		before = append(before, millis(pod.added.Sub(a.Start)))
	}
	t.Logf("added to the pod's own time, in ms: %.0f, of which before its creation: %.0f", extra, before)
	s.coldStartAsync(ctx, t, functions, births)
	s.figures.add("cold start, sync: the whole call", "%.0f ms p50, %.0f ms p99 of %d", percentile(whole, 50), percentile(whole, 99), count)
	s.figures.add("cold start, sync: the pod's own time from creation to ready", "%.0f ms p50, %.0f ms p99", percentile(own, 50), percentile(own, 99))
	s.figures.add("cold start, sync: the part of what is added that comes before the pod's creation", "%.0f ms p50, %.0f ms p99", percentile(before, 50), percentile(before, 99))
	s.figures.hold("cold start, sync: call minus the pod's own time, p50", percentile(extra, 50), holdColdP50, "ms")
	s.figures.hold("cold start, sync: call minus the pod's own time, p99", percentile(extra, 99), holdColdP99, "ms")
}

// coldStartAsync measures from the send of an async call until the function sees it, on the clock of the node that both pods are on.
func (s *system) coldStartAsync(ctx context.Context, t *testing.T, functions []function, births *births) {
	t.Helper()
	var extra []float64
	for n := range coldStartsFew {
		f := functions[n%coldFunctions]
		s.awaitAsleep(ctx, t, f)
		a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.async(f.name, "/work")}, http.StatusAccepted)
		seen := s.awaitDelivered(ctx, t, f.name, a.Header.Get("X-Call-Id"))
		extra = append(extra, millis(time.Unix(0, seen.Start).Sub(a.Start)-births.newest(t, f.name).took()))
	}
	t.Logf("added to the pod's own time by an async call, in ms: %.0f", extra)
	s.figures.add("cold start, async: until the function has the call, minus the pod's own time", "%.0f ms p50, %.0f ms p99 of %d",
		percentile(extra, 50), percentile(extra, 99), coldStartsFew)
}

// awaitAsleep waits until the function is at zero for the gateways too.
func (s *system) awaitAsleep(ctx context.Context, t *testing.T, f function) {
	t.Helper()
	s.kube.awaitZero(ctx, t, f)
	s.awaitDescription(ctx, t, f.name, "zero", func(d description) bool { return d.Replicas == 0 && len(d.Endpoints) == 0 })
}

// bursts are how long the calls of a burst take. What is asked of the short ones, 500 calls a second through three servers that sync
// each of them, is near what a machine with two processors for everything can do: that one is for the record.
var bursts = []struct {
	work time.Duration
	held bool
}{{50 * time.Millisecond, true}, {20 * time.Millisecond, false}}

// burst measures a thousand async calls to a function at zero, beside the pod's own start and the work at the full concurrency.
func (s *system) burst(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "burst", annotations: annotated(annotationTimeout, "3", annotationParallel, fmt.Sprint(burstParallel))})
	births := s.watchBirths(ctx, t)
	for _, b := range bursts {
		var ratios []float64
		for range burstRounds {
			ratios = append(ratios, s.burstOnce(ctx, t, f, births, b.work))
		}
		name := fmt.Sprintf("burst: %d async calls of %s at %d at once, from zero, beside the ideal, median of %d", burstCalls, b.work, burstParallel, burstRounds)
		if b.held {
			s.figures.hold(name, percentile(ratios, 50), holdBurstRatio, "")
		} else {
			s.figures.add(name, "%.2f", percentile(ratios, 50))
		}
	}
}

// burstOnce returns how much longer a burst took than the pod's start and the work.
func (s *system) burstOnce(ctx context.Context, t *testing.T, f function, births *births, work time.Duration) float64 {
	t.Helper()
	s.awaitAsleep(ctx, t, f)
	run := fmt.Sprintf("burst-%d", time.Now().UnixNano())
	url := s.async(f.name, fmt.Sprintf("/work?ms=%d", work.Milliseconds()))
	s.load.start(ctx, t, run, spec{URL: url, Count: burstCalls, Concurrency: 32})
	s.awaitDone(ctx, t, f.name, burstCalls)
	records := s.kube.records(ctx, t, s.readyOf(ctx, t, f.name)...)
	r := s.load.await(ctx, t, run, time.Minute)
	compare(t, r.Accepted, records, -1)
	last := slices.MaxFunc(records, func(a, b record) int { return int(a.End - b.End) })
	took := time.Unix(0, last.End).Sub(r.Started)
	pod := births.newest(t, f.name).took()
	ideal := pod + burstCalls*work/burstParallel
	t.Logf("burst of %s: %s, ideal %s (pod %s), accepted after %s", work, took, ideal, pod, r.Ended.Sub(r.Started))
	return float64(took) / float64(ideal)
}

// awaitDone waits until the function's pods have done that many calls. It reads counts only, which takes little from what is measured.
func (s *system) awaitDone(ctx context.Context, t *testing.T, app string, calls int) {
	t.Helper()
	until(ctx, t, fmt.Sprintf("%d calls done by %s", calls, app), time.Minute, func(ctx context.Context) (bool, string) {
		done := 0
		for _, pod := range s.readyOf(ctx, t, app) {
			now, err := s.kube.stats(ctx, pod.Name)
			if err != nil {
				return false, err.Error()
			}
			done += now.Count - now.InFlight
		}
		return done >= calls, fmt.Sprintf("%d are done", done)
	})
}

// births tells of each function's newest pod when it was created and ready.
type births struct {
	mu    sync.Mutex
	added map[string]time.Time // by pod; guarded by mu
	last  map[string]birth     // by app; guarded by mu
	pods  map[string]bool      // those that have been ready; guarded by mu
	fresh map[string]bool      // apps with a value that was not read; guarded by mu
}

// birth is when a watch has told that a pod is there, and that it is ready.
type birth struct{ added, ready time.Time }

func (b birth) took() time.Duration { return b.ready.Sub(b.added) }

// watchBirths follows the pods of the tests until the scenario ends.
func (s *system) watchBirths(ctx context.Context, t *testing.T) *births {
	t.Helper()
	watcher, err := s.kube.CoreV1().Pods(s.kube.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: labelTest})
	if err != nil {
		t.Fatal(err)
	}
	b := &births{added: map[string]time.Time{}, last: map[string]birth{}, pods: map[string]bool{}, fresh: map[string]bool{}}
	var follower sync.WaitGroup
	follower.Go(func() {
		for event := range watcher.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok {
				b.see(event.Type, pod, time.Now())
			}
		}
	})
	t.Cleanup(func() {
		watcher.Stop()
		follower.Wait()
	})
	return b
}

func (b *births) see(event watch.EventType, pod *corev1.Pod, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if event == watch.Added {
		b.added[pod.Name] = now
	}
	begun, known := b.added[pod.Name]
	if known && isReady(*pod) && !b.pods[pod.Name] {
		app := pod.Labels[labelApp]
		b.pods[pod.Name], b.last[app], b.fresh[app] = true, birth{begun, now}, true
	}
}

// newest is that of a pod of which nobody has asked yet. The call is over, so the pod was ready.
func (b *births) newest(t *testing.T, app string) birth {
	t.Helper()
	var newest birth
	until(t.Context(), t, "the watch to tell of the pod of "+app, 10*time.Second, func(context.Context) (bool, string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		newest = b.last[app]
		fresh := b.fresh[app]
		b.fresh[app] = false
		return fresh, ""
	})
	return newest
}

// percentile is the nearest rank of p percent.
func percentile(values []float64, p int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
