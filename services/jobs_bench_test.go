package services_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
)

// benchJobs is how many runs there are; SLUICE_BENCH_JOBS says another number.
func benchJobs(b *testing.B) int {
	b.Helper()
	count, err := strconv.Atoi(os.Getenv("SLUICE_BENCH_JOBS"))
	if err != nil {
		return 40
	}
	return count
}

// BenchmarkJobsBesideDirect compares queued runs that have 20 slots with 20 clients that create the same Jobs themselves, each the next one when its last one is complete. The API
// server and its Job controller are real; pods are played by the test, and work for no time. The ratio is of Jobs per second.
func BenchmarkJobsBesideDirect(b *testing.B) {
	const slots = 20
	count := benchJobs(b)
	for range b.N {
		direct := directJobs(b, count, slots)
		ours := queuedJobs(b, count, slots)
		b.ReportMetric(direct, "direct-jobs/s")
		b.ReportMetric(ours, "jobs/s")
		b.ReportMetric(ours/direct, "ratio")
	}
}

// directJobs is the rate of Jobs that clients create themselves.
func directJobs(b *testing.B, count, clients int) float64 {
	b.Helper()
	c := newJobCluster(b, 0)
	complete := newCompletions(b, c)
	next := make(chan int)
	var all sync.WaitGroup
	start := time.Now()
	for range clients {
		all.Go(func() {
			for n := range next {
				name := fmt.Sprintf("direct-%d", n)
				done := complete.of(name)
				made := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: playedPod()}}
				if _, err := c.admin.BatchV1().Jobs(c.namespace).Create(context.Background(), made, metav1.CreateOptions{}); err != nil {
					b.Error(err)
					continue
				}
				<-done
			}
		})
	}
	for n := range count {
		next <- n
	}
	close(next)
	all.Wait()
	return float64(count) / time.Since(start).Seconds()
}

// queuedJobs is the rate of runs that were all queued before the jobrunner started.
func queuedJobs(b *testing.B, count, slots int) float64 {
	b.Helper()
	c := newJobCluster(b, 0)
	runner := start(b, "jobrunner", c.natsURL, "--kubeconfig="+plane.Kubeconfig(), "--namespace="+c.namespace, "--job-create-rate=10000")
	runner.readiness(http.StatusOK)
	for n := range count {
		c.ask("queued", fmt.Sprintf("run-%d", n))
	}
	complete := newCompletions(b, c)
	var done []<-chan struct{}
	for n := range count {
		done = append(done, complete.of(fmt.Sprintf("run-%d", n)))
	}
	start := time.Now()
	c.define("queued", slots, nil)
	for _, d := range done {
		<-d
	}
	return float64(count) / time.Since(start).Seconds()
}

// completions tells when Jobs are complete, by their names or those of their runs.
type completions struct {
	mu   sync.Mutex
	done map[string]chan struct{} // guarded by mu
}

func newCompletions(b *testing.B, c *jobCluster) *completions {
	b.Helper()
	all := &completions{done: map[string]chan struct{}{}}
	c.watchJobs(func(change watch.EventType, j *batchv1.Job) {
		if change != watch.Deleted && j.Status.CompletionTime != nil {
			all.end(j.Name)
			all.end(j.Labels["sluice/run-id"])
		}
	})
	return all
}

func (c *completions) of(name string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[name] = make(chan struct{})
	return c.done[name]
}

func (c *completions) end(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.done[name]; ch != nil {
		close(ch)
		delete(c.done, name)
	}
}

// watchJobs tells of each change of a Job until the test ends.
func (c *jobCluster) watchJobs(see func(watch.EventType, *batchv1.Job)) {
	c.t.Helper()
	events, err := c.admin.BatchV1().Jobs(c.namespace).Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	var following sync.WaitGroup
	following.Go(func() {
		for event := range events.ResultChan() {
			if j, ok := event.Object.(*batchv1.Job); ok {
				see(event.Type, j)
			}
		}
	})
	c.t.Cleanup(func() { events.Stop(); following.Wait() })
}

// BenchmarkRequestToJob measures from the send of a request over HTTP until the Job is there, one after the other, with all slots free.
func BenchmarkRequestToJob(b *testing.B) {
	c := newJobCluster(b, 0)
	runner := start(b, "jobrunner", c.natsURL, "--kubeconfig="+plane.Kubeconfig(), "--namespace="+c.namespace)
	runner.readiness(http.StatusOK)
	dispatcher, gateway := start(b, "dispatcher", c.natsURL), start(b, "gateway", c.natsURL)
	_ = dispatcher // which makes the stream of calls, without which no gateway is ready
	c.define("timed", 100, nil)
	made := make(chan time.Time, 1)
	c.watchJobs(func(change watch.EventType, _ *batchv1.Job) {
		if change == watch.Added {
			made <- time.Now()
		}
	})
	ask := func() answer { return send(b, http.MethodPost, "http://"+gateway.api+"/job/timed", "{}") }
	eventually(b, "the gateway knows the job", func() bool {
		return send(b, http.MethodGet, "http://"+gateway.api+"/jobs", "").status == http.StatusOK && ask().status == http.StatusAccepted
	})
	<-made
	var took []float64
	for range max(b.N, 20) {
		sent := time.Now()
		if got := ask(); got.status != http.StatusAccepted {
			b.Fatal(got)
		}
		took = append(took, float64((<-made).Sub(sent).Microseconds())/1000)
	}
	b.Logf("%.0f", took)
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "ms-p50")
	b.ReportMetric(took[len(took)*99/100], "ms-p99")
}
