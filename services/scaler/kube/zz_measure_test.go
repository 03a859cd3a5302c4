package kube

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

func TestMeasureLatency(t *testing.T) {
	n := newNamespace(t)
	n.deploy("f", 0, nil)
	cluster, recorder, _ := n.watch()
	recorder.Wait(t, "f", patience, scalertest.Ready(0))
	var up, full, seen []time.Duration
	for range 15 {
		start := time.Now()
		if err := cluster.SetReplicas(t.Context(), "f", 1, nil); err != nil {
			t.Fatal(err)
		}
		up = append(up, time.Since(start))
		recorder.Wait(t, "f", patience, scalertest.Ready(1))
		full = append(full, time.Since(start))
		pods, _ := n.admin.CoreV1().Pods(n.name).List(t.Context(), metav1.ListOptions{})
		_ = pods
		cluster.SetReplicas(t.Context(), "f", 0, nil)
		recorder.Wait(t, "f", patience, scalertest.Ready(0))
		time.Sleep(50 * time.Millisecond)
	}
	_ = seen
	slices.Sort(up)
	slices.Sort(full)
	fmt.Println("SetReplicas p50", up[len(up)/2], "max", up[len(up)-1], "0->observed ready p50", full[len(full)/2], "max", full[len(full)-1])
}

func TestMeasureMany(t *testing.T) {
	n := newNamespace(t)
	const many = 2000
	var wg sync.WaitGroup
	slots := make(chan bool, 16)
	start := time.Now()
	for i := range many {
		slots <- true
		wg.Go(func() { n.deploy(fmt.Sprintf("f-%04d", i), 0, nil); <-slots })
	}
	wg.Wait()
	fmt.Println("made", time.Since(start))
	time.Sleep(10 * time.Second)
	before := heap()
	start = time.Now()
	cluster := n.cluster()
	recorder, stop := scalertest.Watch(t, cluster)
	known := recorder.WaitSynced(t, patience)
	fmt.Println("synced", known, time.Since(start), "heap grown MB", heap()-before)
	for round, count := range []int{1, 0} {
		start = time.Now()
		var took []time.Duration
		var mu sync.Mutex
		for i := range many {
			wg.Go(func() {
				s := time.Now()
				if err := cluster.SetReplicas(t.Context(), fmt.Sprintf("f-%04d", i), count, nil); err != nil {
					t.Error(err)
				}
				mu.Lock()
				took = append(took, time.Since(s))
				mu.Unlock()
			})
		}
		wg.Wait()
		slices.Sort(took)
		fmt.Println("round", round, "all 2000 set in", time.Since(start), "p50", took[many/2], "max", took[many-1])
		time.Sleep(5 * time.Second)
	}
	recorder.Wait(t, "f-1999", patience, func(w function.Workload) bool { return w.Replicas == 0 })
	fmt.Println("heap grown MB", heap()-before)
	stop()
}
