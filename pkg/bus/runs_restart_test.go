package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/job"
)

func mustMarshal(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// deafProxy is a server's address that can swallow what the server answers, once: the connection then ends.
type deafProxy struct {
	listener net.Listener
	to       string
	deaf     atomic.Bool
	// swallowed counts the connections that ended so.
	swallowed atomic.Int32
	all       sync.WaitGroup
}

func startDeafProxy(t *testing.T, server *bustest.Server) *deafProxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &deafProxy{listener: listener, to: strings.TrimPrefix(server.URL(), "nats://")}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.all.Wait()
	})
	return p
}

func (p *deafProxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *deafProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.all.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		})
		p.all.Go(func() {
			p.answer(client, server)
			_ = client.Close()
			_ = server.Close()
		})
	}
}

func (p *deafProxy) answer(client io.Writer, server io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if p.deaf.CompareAndSwap(true, false) {
			p.swallowed.Add(1)
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// An answer that is lost makes no difference: the record is written once, and the writer knows it.
func TestPutOfARunWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	proxy := startDeafProxy(t, server)
	writer := openRuns(t, connectOnly(t, proxy.url(), patient))
	reader := openRuns(t, connectOnly(t, server.URL()))
	var revision uint64
	for i := range 5 {
		proxy.deaf.Store(true)
		record := run("j", "1", job.Phase(fmt.Sprint("p", i)))
		next, err := writer.Put(within(t, unhurried), record, revision)
		if err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		got, at := getRun(t, reader, "j", "1")
		if at != next || got.Phase != record.Phase {
			t.Fatalf("put %d: got %+v at %d, want %d", i, got, at, next)
		}
		revision = next
	}
	if proxy.swallowed.Load() != 5 {
		t.Errorf("%d answers were lost", proxy.swallowed.Load())
	}
	proxy.deaf.Store(true)
	if err := writer.Remove(within(t, unhurried), "j", "1", revision); err != nil {
		t.Errorf("remove: %v", err)
	}
	proxy.deaf.Store(true)
	if next, err := writer.Put(within(t, unhurried), run("j", "1", job.Queued), 0); err != nil || next != revision+2 {
		t.Errorf("made over a mark at %d: %v", next, err)
	}
}

// Many writers count up in one record by compare-and-set while the server is restarted: no count is lost, and none is made twice.
func TestCompareAndSetOfRunsAcrossRestarts(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	checkCounting(t, server.URL(), nil, func() {
		server.Stop()
		server.Start()
	})
}

func TestCompareAndSetOfRunsOnACluster(t *testing.T) {
	t.Parallel()
	cluster := bustest.StartCluster(t, 3)
	checkCounting(t, cluster.URL(), func(c *Config) { c.Replicas = 3 }, func() {
		if leader := cluster.StreamLeader("KV_sluice-runs"); leader != nil {
			leader.Stop()
			leader.Start()
		}
	})
}

// checkCounting has several writers count up in a record, each as often, while disturb is called some times.
func checkCounting(t *testing.T, url string, change func(*Config), disturb func()) {
	t.Helper()
	changes := []func(*Config){patient}
	if change != nil {
		changes = append(changes, change)
	}
	main := openRuns(t, connectOnly(t, url, changes...))
	const writers, each = 4, 30
	first := run("j", "1", job.Queued)
	first.Pods = make([]job.Pod, writers)
	putRun(t, main, first, 0)
	var counted sync.WaitGroup
	var unknown atomic.Int64
	for writer := range writers {
		r := openRuns(t, connectOnly(t, url, changes...))
		counted.Go(func() {
			for n := range each {
				if !countUp(within(t, unhurried), r, writer, fmt.Sprint(n)) {
					unknown.Add(1)
				}
			}
		})
	}
	for range 3 {
		<-time.After(100 * time.Millisecond) // something is on its way at any time
		disturb()
	}
	counted.Wait()
	var got job.Run
	eventually(t, "the record can be read", func() (ok bool) {
		var err error
		got, _, err = main.Get(within(t, patience), "j", "1")
		return err == nil
	})
	if most := 1 + writers*each; got.Attempt > most || int64(got.Attempt) < int64(most)-unknown.Load() {
		t.Errorf("counted to %d of %d, %d are unknown", got.Attempt, most, unknown.Load())
	}
}

// countUp adds one to the record's attempt and notes that as the writer's last count; it returns false if it is not known whether it did.
func countUp(ctx context.Context, r *Runs, writer int, count string) (known bool) {
	for {
		record, revision, err := r.Get(ctx, "j", "1")
		if err != nil {
			if ctx.Err() != nil {
				return false
			}
			continue
		}
		if record.Pods[writer].Name == count {
			return true // it was stored, the answer was lost, and somebody else has counted since
		}
		record.Attempt++
		record.Pods[writer].Name = count
		_, err = r.Put(ctx, record, revision)
		if err == nil || !errors.Is(err, ErrOvertaken) {
			return err == nil
		}
	}
}

// The leader answers what is there: who has just written reads it, whichever server it is connected to.
func TestReadOfARunIsNeverStale(t *testing.T) {
	t.Parallel()
	cluster := bustest.StartCluster(t, 3)
	three := func(c *Config) { c.Replicas = 3 }
	writer := openRuns(t, connectOnly(t, cluster.URL(), three))
	var readers []*Runs
	for _, server := range cluster.Servers {
		readers = append(readers, openRuns(t, connectOnly(t, server.URL(), three)))
	}
	var revision uint64
	for i := range 50 {
		revision = putRun(t, writer, run("j", "1", job.Phase(fmt.Sprint("p", i))), revision)
		for _, r := range readers {
			if _, got := getRun(t, r, "j", "1"); got != revision {
				t.Fatalf("read revision %d after %d was written", got, revision)
			}
		}
	}
}

// It is not left to chance: no other server is asked.
func TestRunIsReadFromTheLeader(t *testing.T) {
	t.Parallel()
	s := limited(t, []string{"$JS.API.INFO", "$JS.API.STREAM.>", "$KV.>", "sluice.>"}, []string{"_INBOX.sluice.tester.>"})
	r := openRuns(t, connectOnly(t, s.URL(), asUser))
	revision := putRun(t, r, run("j", "1", job.Queued), 0)
	if _, got := getRun(t, r, "j", "1"); got != revision {
		t.Errorf("read revision %d, want %d", got, revision)
	}
	if err := r.List(within(t, soon), "j", func(job.Run) bool { return true }); err == nil {
		t.Error("what any server may answer is permitted: this test says nothing")
	}
}

// A list that is interrupted by a restart goes on where it was.
func TestListOfRunsGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	r := openRuns(t, connectOnly(t, server.URL(), patient))
	const count = 3*scanBatch + 10
	putRuns(t, r, count)
	told := map[string]int{}
	err := r.List(within(t, unhurried), "", func(record job.Run) bool {
		if len(told) == scanBatch/2 {
			server.Stop()
			server.Start()
		}
		told[record.ID]++
		return true
	})
	if err != nil || len(told) != count {
		t.Errorf("%d were told of %d: %v", len(told), count, err)
	}
}
