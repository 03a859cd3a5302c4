package bus

import (
	"context"
	"net/http"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func benchmarkCall() Call {
	return Call{
		Function: "f", Method: "POST", Path: "/path", Query: "q=1", Body: make([]byte, 1<<10),
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"*/*"}, "User-Agent": {"benchmark"}, "Traceparent": {"00-1-2-01"}},
	}
}

func BenchmarkPublishCall(b *testing.B) {
	bus := connect(b, bustest.Start(b), func(c *Config) { c.Settings.QueueLimit = 1 << 40 })
	call := benchmarkCall()
	b.SetBytes(int64(len(call.Body)))
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call := call
			call.Header = call.Header.Clone() // PublishCall takes it over
			if _, err := bus.PublishCall(context.Background(), call); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	msg := testNames.encode(benchmarkCall())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := testNames.decode(msg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPull is a call from the queue to its confirmed end, 32 at a time.
func BenchmarkPull(b *testing.B) {
	bus := connect(b, bustest.Start(b), func(c *Config) { c.Settings.QueueLimit = 1 << 40 })
	for range b.N {
		publish(b, bus, benchmarkCall())
	}
	c := consumer(b, bus, "f")
	ended := make(chan error, 32)
	running, ahead := 0, min(b.N, 32)
	b.ReportAllocs()
	b.ResetTimer()
	if err := c.Pull(ahead); err != nil {
		b.Fatal(err)
	}
	for done := 0; done < b.N; {
		select {
		case msg := <-c.Messages():
			if d := handled(b, c, msg); d != nil {
				running++
				go func() { ended <- d.Done(context.Background()) }()
			}
		case err := <-ended:
			if err != nil {
				b.Fatal(err)
			}
			running--
			done++
		}
		if free := min(32-running, b.N-done-running) - c.Asked(); free > 0 {
			if err := c.Pull(free); err != nil {
				b.Fatal(err)
			}
		}
	}
}
