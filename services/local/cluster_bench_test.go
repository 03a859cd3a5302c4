package local

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// BenchmarkWake compares SetReplicas to the observation of a ready replica with the process's own time from its
// start to its first accepted connection, turn by turn.
func BenchmarkWake(b *testing.B) {
	workload := testFunction(b, "f", "serve")
	workload.Replicas = 0
	run := runCluster(b, workload)
	run.WaitSynced(b, patience)
	var own, ours time.Duration
	for b.Loop() {
		own += ownStart(b, workload)
		start := time.Now()
		run.set(b, "f", 1)
		run.one(b, "f")
		ours += time.Since(start)
		run.set(b, "f", 0)
		run.Wait(b, "f", patience, scalertest.Ready(0))
	}
	b.ReportMetric(float64(own.Microseconds())/1000/float64(b.N), "own-ms")
	b.ReportMetric(float64(ours.Microseconds())/1000/float64(b.N), "wake-ms")
	b.ReportMetric(float64((ours-own).Microseconds())/1000/float64(b.N), "beyond-ms")
}

// ownStart starts the process without a cluster and connects in a tight loop.
func ownStart(b *testing.B, workload Workload) time.Duration {
	port, err := newPorts().take(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(workload.Command[0])
	cmd.Env = append(append(os.Environ(), workload.Env...), "PORT="+loopback(port)[len("127.0.0.1:"):])
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for {
		if connection, err := net.Dial("tcp", loopback(port)); err == nil {
			took := time.Since(start)
			_ = connection.Close()
			return took
		}
		<-time.After(100 * time.Microsecond)
	}
}
