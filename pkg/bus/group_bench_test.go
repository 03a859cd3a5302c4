package bus

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func syncAlways(o *server.Options) { o.SyncAlways = true }

func groupCommit(c *Config) { c.GroupCommit, c.Settings.QueueLimit = true, 1<<40 }

// BenchmarkPublishCallSync is the gain where the server syncs every publish, and the loss where it does not.
func BenchmarkPublishCallSync(b *testing.B) {
	for _, sync := range []bool{true, false} {
		for _, parallel := range []int{32, 128} {
			for _, grouped := range []bool{false, true} {
				b.Run(fmt.Sprintf("always=%v/parallel=%d/group=%v", sync, parallel, grouped), func(b *testing.B) {
					options := func(o *server.Options) { o.SyncAlways = sync }
					bus := connect(b, bustest.Start(b, options), groupCommit, func(c *Config) { c.GroupCommit = grouped })
					benchmarkPublish(b, bus, parallel)
				})
			}
		}
	}
}

func benchmarkPublish(b *testing.B, bus *Bus, parallel int) {
	b.SetParallelism(max(1, parallel/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := bus.PublishCall(context.Background(), benchmarkCall()); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
