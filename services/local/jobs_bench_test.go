package local

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkJobStart measures from the request for a run, over HTTP, to the first thing that its process does, and compares it with what the process needs by itself, turn by
// turn. The hold is 30 ms beyond that at the median.
func BenchmarkJobStart(b *testing.B) {
	stamp := filepath.Join(b.TempDir(), "stamp")
	manifest := strings.Replace(cronJob("j", `sluice/Job: "true", sluice/DefaultVisibility: Public, sluice/NumberParallelJob: "10", sluice/LocalCommand: `+quoted(executable(b)), jobBody),
		"image: x", fmt.Sprintf("image: x, env: [{name: %s, value: job}], args: [%q]", testMode, "stamp="+stamp), 1)
	l := runManifest(b, manifest)
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	var own, ours []time.Duration
	for b.Loop() {
		start := time.Now()
		cmd := exec.Command(executable(b), "stamp="+stamp)
		cmd.Env = append(os.Environ(), testMode+"=job")
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		own = append(own, stamped(b, stamp).Sub(start))

		start = time.Now()
		response, err := client.Post(l.url()+"/job/j", "application/json", nil)
		if err != nil {
			b.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusAccepted {
			b.Fatalf("%d %s", response.StatusCode, text)
		}
		ours = append(ours, stamped(b, stamp).Sub(start))
	}
	b.ReportMetric(median(own), "own-ms")
	b.ReportMetric(median(ours), "start-ms")
	b.ReportMetric(median(ours)-median(own), "beyond-ms")
}

// stamped waits for the time that a process writes, and takes it away.
func stamped(b *testing.B, path string) (at time.Time) {
	b.Helper()
	eventually(b, "the process has begun", func() bool {
		text, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		nanoseconds, err := strconv.ParseInt(string(text), 10, 64)
		at = time.Unix(0, nanoseconds)
		return err == nil && os.Remove(path) == nil
	})
	return at
}

// median is in milliseconds.
func median(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}
