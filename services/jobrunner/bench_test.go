package jobrunner

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/job"
)

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one has found in pools and behind finalizers
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// rememberedRuns are what a Runner keeps of so many records, in bytes: half of them closed, half of them waiting.
func rememberedRuns(count int) uint64 {
	r := New(Config{}, Deps{Logger: zerolog.Nop(), Registry: prometheus.NewRegistry()})
	d := definition("fibonacci", 1)
	for i := range count {
		run := job.Accept(d, job.Message{Definition: d.Name, RunID: fmt.Sprintf("k-%026d", i), Sequence: uint64(i + 1)}, time.Now())
		if i%2 == 0 {
			run.Phase, run.Closed, run.FinishedAt, run.Spec = job.Succeeded, true, time.Now(), nil
		}
		r.applyRun(run, uint64(i+1))
	}
	with := heap()
	runtime.KeepAlive(r)
	return with - heap() // of what is let go; during the many seconds before, what other tests have left may go too
}

// TestMemoryOfRecords: 100,000 records, closed or waiting, cost well under 100 MB.
func TestMemoryOfRecords(t *testing.T) {
	const count = 100_000
	used := rememberedRuns(count)
	t.Logf("%d records cost %.1f MB, %d bytes each", count, float64(used)/1e6, used/count)
	if used > 30e6 {
		t.Errorf("%d records cost %d bytes", count, used)
	}
}

// BenchmarkMemory100kRecords prints it.
func BenchmarkMemory100kRecords(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(rememberedRuns(100_000))/1e6, "MB/100k-records")
	}
}

// BenchmarkRequestToJob is the time from a request to its Job, one at a time.
func BenchmarkRequestToJob(b *testing.B) {
	f := newFixture(b, definition("fib", 1))
	f.timing = standardTiming
	f.config.CreateRate = 0
	created := make(chan struct{}, 1)
	f.api.plan = func(job.Object) plan {
		signal(created)
		return plan{end: job.Succeeded}
	}
	f.startSynced()
	n := 0
	for b.Loop() {
		n++
		f.publish("fib", fmt.Sprint("r", n), "")
		<-created
	}
}

// BenchmarkBacklog is how many queued requests a second become Jobs that end at once, with 20 slots.
func BenchmarkBacklog(b *testing.B) {
	f := newFixture(b, definition("fib", 20))
	f.timing = standardTiming
	f.config.CreateRate = 0
	f.api.plan = func(job.Object) plan { return plan{end: job.Succeeded} }
	const batch = 500
	f.startSynced()
	round := 0
	for b.Loop() {
		round++
		b.StopTimer()
		for i := range batch {
			f.publish("fib", fmt.Sprintf("r%d-%d", round, i), "")
		}
		b.StartTimer()
		within(b, 5*time.Minute, "all have run", func() bool { return f.api.count("resume") >= round*batch })
	}
	b.ReportMetric(float64(batch*round)/b.Elapsed().Seconds(), "Jobs/s")
}
