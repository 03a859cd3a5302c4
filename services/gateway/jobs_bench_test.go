package gateway

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/job"
)

// BenchmarkMemory100kRecords prints what a gateway keeps of so many records, half of them of runs that are over.
func BenchmarkMemory100kRecords(b *testing.B) {
	const count = 100_000
	d := definition("fibonacci", job.Public)
	for b.Loop() {
		index, before := newRunIndex(), heap()
		for i := range count {
			run := job.Accept(d, job.Message{Definition: d.Name, RunID: fmt.Sprintf("k-%026d", i), Sequence: uint64(i + 1)}, time.Now())
			if i%2 == 0 {
				run.Phase, run.Closed, run.FinishedAt, run.Spec = job.Succeeded, true, time.Now(), nil
			}
			index.ApplyRun(run, uint64(i+1))
		}
		b.ReportMetric(float64(heap()-before)/1e6, "MB/100k-records")
		runtime.KeepAlive(index)
	}
}

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
