package scaler

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/function"
)

// many is how many idle functions must cost next to nothing.
const many = 10_000

func idleWorkloads() []function.Workload {
	workloads := make([]function.Workload, many)
	for i := range workloads {
		workloads[i] = deployed(spec(fmt.Sprintf("function-%d", i), 0, 300), 0)
	}
	return workloads
}

// BenchmarkTickIdle is what 10,000 idle functions cost in each tick.
func BenchmarkTickIdle(b *testing.B) {
	s := New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	now := time.Now()
	s.onDepths(nil, nil, now)
	for _, w := range idleWorkloads() {
		s.observe(w, now)
	}
	now = now.Add(10 * time.Minute)
	s.onDepths(nil, nil, now)
	s.onTick(now)
	b.ReportAllocs()
	for b.Loop() {
		s.onTick(now)
	}
}

// BenchmarkStart is a leader's start with 10,000 functions until all are shared: with an empty bucket, and after another leader.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		f := newFixture(b, idleWorkloads()...)
		f.timing = standardTiming
		f.cluster.events = make(chan func(Observer), many)
		before := heap()
		started := time.Now()
		f.startSynced()
		first := time.Since(started)
		b.ReportMetric(first.Seconds(), "s/first")
		b.ReportMetric(float64(heap()-before)/(1<<20), "MB/first")
		f.stop()
		started = time.Now()
		f.startSynced()
		b.ReportMetric(time.Since(started).Seconds(), "s/next")
		f.stop()
	}
}

// BenchmarkIdle is what 10,000 idle functions cost a scaler each second, with the embedded server and a reader in the process.
func BenchmarkIdle(b *testing.B) {
	f := newFixture(b, idleWorkloads()...)
	f.timing = standardTiming
	f.startSynced().trusted()
	<-time.After(2 * f.timing.tick) // the first decisions
	for b.Loop() {
		before := cpu(b)
		<-time.After(5 * time.Second)
		b.ReportMetric(100*(cpu(b)-before).Seconds()/5, "%cpu")
	}
	b.ReportMetric(float64(heap())/(1<<20), "MB")
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
