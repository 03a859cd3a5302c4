package bus

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

// recordOf is a record as large as that of a usual run.
func recordOf(id int) job.Run {
	record := run("j", fmt.Sprint("run-", id), job.Queued)
	record.Spec = []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"` + strings.Repeat("i", 1_500) + `"}]}}}}`)
	return record
}

// BenchmarkPutRun writes records by compare-and-set: one after the other, and by 32 at a time.
func BenchmarkPutRun(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprint(writers, "_writers"), func(b *testing.B) {
			r := openRuns(b, connectOnly(b, bustest.Start(b).URL()))
			var ids atomic.Int64
			b.SetParallelism(writers) // for each CPU
			b.ResetTimer()
			if writers == 1 {
				for i := range b.N {
					putRun(b, r, recordOf(i), 0)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := r.Put(context.Background(), recordOf(int(ids.Add(1))), 0); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

const benchRuns = 10_000

func benchRecords(b *testing.B) *Runs {
	b.Helper()
	r := openRuns(b, connectOnly(b, bustest.Start(b).URL()))
	for i := range benchRuns {
		putRun(b, r, recordOf(i), 0)
	}
	return r
}

// BenchmarkWatchRuns starts a watch of 10,000 records and reads what is there.
func BenchmarkWatchRuns(b *testing.B) {
	r := benchRecords(b)
	b.ResetTimer()
	for range b.N {
		ctx, cancel := context.WithCancel(context.Background())
		reader := &countingReader{done: cancel}
		if err := r.Watch(ctx, reader); err != nil || reader.count != benchRuns {
			b.Fatal(reader.count, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRuns, "ns/record")
}

// BenchmarkListRuns lists 10,000 records.
func BenchmarkListRuns(b *testing.B) {
	r := benchRecords(b)
	b.ResetTimer()
	for range b.N {
		if n := len(listed(b, r, "j")); n != benchRuns {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRuns, "ns/record")
}

// countingReader counts what is there, then ends the watch.
type countingReader struct {
	count int
	done  func()
}

func (c *countingReader) ApplyRun(job.Run, uint64) { c.count++ }
func (c *countingReader) RemoveRun(string, string) {}
func (c *countingReader) AppliedRuns(uint64)       { c.done() }
