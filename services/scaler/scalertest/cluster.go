// Package scalertest holds the conformance suite of scaler.Cluster, which both clusters pass: Kubernetes and the
// processes of the local mode. Its Recorder serves other tests that watch a cluster.
package scalertest

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler"
)

// Fixture is a cluster to be tested, which has not been watched yet.
type Fixture struct {
	Cluster scaler.Cluster
	// Names are all its functions, two at least. Each starts with one replica and accepts TCP connections when ready.
	Names []string
	// Watched are workloads that are no functions, but that a function depends on; none where the cluster has no such thing. Each has
	// a ready replica.
	Watched []string
	// Timeout bounds each wait, for a start as well as for an end.
	Timeout time.Duration
}

// RunCluster checks the contract of scaler.Cluster. Each part gets a cluster of its own.
func RunCluster(t *testing.T, newCluster func(t *testing.T) Fixture) {
	parts := map[string]func(*testing.T, Fixture){
		"observes every function, then says synced": observesAll,
		"scales up to ready replicas":               scalesUp,
		"ends the victims first":                    endsVictims,
		"scales to zero and back":                   scalesToZero,
		"does the same once when asked twice":       isIdempotent,
		"refuses an unknown function":               refusesUnknown,
		"reports what is watched, never scales it":  watchesOthers,
		"takes calls at the same time":              takesConcurrentCalls,
		"is silent after Watch has returned":        isSilentAfterwards,
	}
	for name, part := range parts {
		t.Run(name, func(t *testing.T) { part(t, newCluster(t)) })
	}
}

func observesAll(t *testing.T, f Fixture) {
	recorder, _ := Watch(t, f.Cluster)
	if atSync := recorder.WaitSynced(t, f.Timeout); atSync != len(f.Names) {
		t.Errorf("%d functions were observed before Synced, want %d", atSync, len(f.Names))
	}
	for _, name := range f.Names {
		workload := recorder.Wait(t, name, f.Timeout, Ready(1))
		connect(t, workload.Pods[0])
	}
}

func scalesUp(t *testing.T, f Fixture) {
	recorder, _ := Watch(t, f.Cluster)
	first := recorder.Wait(t, f.Names[0], f.Timeout, Ready(1))
	set(t, f, 3)
	workload := recorder.Wait(t, f.Names[0], f.Timeout, Ready(3))
	for _, pod := range workload.Pods {
		connect(t, pod)
	}
	if !slices.Contains(podNames(workload), first.Pods[0].Name) {
		t.Errorf("the first replica %s was replaced: %v", first.Pods[0].Name, podNames(workload))
	}
	if len(slices.Compact(slices.Sorted(slices.Values(podNames(workload))))) != 3 {
		t.Errorf("names of replicas are not unique: %v", podNames(workload))
	}
}

func endsVictims(t *testing.T, f Fixture) {
	recorder, _ := Watch(t, f.Cluster)
	recorder.Wait(t, f.Names[0], f.Timeout, Ready(1))
	set(t, f, 3)
	names := podNames(recorder.Wait(t, f.Names[0], f.Timeout, Ready(3)))
	set(t, f, 2, names[2], "no-such-replica")
	if left := podNames(recorder.Wait(t, f.Names[0], f.Timeout, Ready(2))); !slices.Equal(left, names[:2]) {
		t.Errorf("the replicas %v are left, want %v", left, names[:2])
	}
}

func scalesToZero(t *testing.T, f Fixture) {
	recorder, _ := Watch(t, f.Cluster)
	workload := recorder.Wait(t, f.Names[0], f.Timeout, Ready(1))
	set(t, f, 0)
	recorder.Wait(t, f.Names[0], f.Timeout, Ready(0))
	if connection, err := dial(t, workload.Pods[0]); err == nil {
		_ = connection.Close()
		t.Error("the replica still accepts connections after it was reported gone")
	}
	set(t, f, 1)
	connect(t, recorder.Wait(t, f.Names[0], f.Timeout, Ready(1)).Pods[0])
}

func isIdempotent(t *testing.T, f Fixture) {
	recorder, _ := Watch(t, f.Cluster)
	recorder.Wait(t, f.Names[0], f.Timeout, Ready(1))
	set(t, f, 2)
	set(t, f, 2)
	names := podNames(recorder.Wait(t, f.Names[0], f.Timeout, Ready(2)))
	set(t, f, 1, names[1])
	set(t, f, 1, names[1])
	if left := podNames(recorder.Wait(t, f.Names[0], f.Timeout, Ready(1))); left[0] != names[0] {
		t.Errorf("the replica %s is left, want %s", left[0], names[0])
	}
}

func refusesUnknown(t *testing.T, f Fixture) {
	recorder, _ := Watch(t, f.Cluster)
	recorder.WaitSynced(t, f.Timeout)
	if err := f.Cluster.SetReplicas(t.Context(), "no-such-function", 1, nil); err == nil {
		t.Error("SetReplicas of an unknown function returned no error")
	}
}

func watchesOthers(t *testing.T, f Fixture) {
	recorder, _ := Watch(t, f.Cluster)
	recorder.WaitSynced(t, f.Timeout)
	for _, name := range f.Watched {
		recorder.Wait(t, name, f.Timeout, func(w function.Workload) bool {
			return w.Watched && slices.ContainsFunc(w.Pods, func(p function.Pod) bool { return p.Ready })
		})
		if err := f.Cluster.SetReplicas(t.Context(), name, 0, nil); err == nil {
			t.Errorf("SetReplicas of %s, which is no function, returned no error", name)
		}
	}
	for _, name := range f.Names {
		recorder.Wait(t, name, f.Timeout, func(w function.Workload) bool { return !w.Watched })
	}
}

func takesConcurrentCalls(t *testing.T, f Fixture) {
	recorder, _ := Watch(t, f.Cluster)
	recorder.WaitSynced(t, f.Timeout)
	done := make(chan error, 8)
	for i := range cap(done) {
		go func() { done <- f.Cluster.SetReplicas(t.Context(), f.Names[0], i%3, nil) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	set(t, f, 2)
	recorder.Wait(t, f.Names[0], f.Timeout, Ready(2))
}

func isSilentAfterwards(t *testing.T, f Fixture) {
	recorder, stop := Watch(t, f.Cluster)
	recorder.Wait(t, f.Names[0], f.Timeout, Ready(1))
	stop()
	next := recorder.next()
	_ = f.Cluster.SetReplicas(t.Context(), f.Names[0], 3, nil) // whether it is refused is the cluster's own affair
	select {
	case <-next:
		t.Error("something was observed after Watch had returned")
	case <-time.After(100 * time.Millisecond):
	}
}

func set(t *testing.T, f Fixture, count int, victims ...string) {
	t.Helper()
	if err := f.Cluster.SetReplicas(t.Context(), f.Names[0], count, victims); err != nil {
		t.Fatal(err)
	}
}

func podNames(workload function.Workload) []string {
	var names []string
	for _, pod := range workload.Pods {
		names = append(names, pod.Name)
	}
	return names
}

func connect(t *testing.T, pod function.Pod) {
	t.Helper()
	connection, err := dial(t, pod)
	if err != nil {
		t.Errorf("connect to replica %s, which is reported ready: %v", pod.Name, err)
		return
	}
	_ = connection.Close()
}

func dial(t *testing.T, pod function.Pod) (net.Conn, error) {
	dialer := net.Dialer{Timeout: time.Second}
	return dialer.DialContext(t.Context(), "tcp", pod.Address)
}
