package bus

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// groupLedger has the calls that were accepted while servers came and went.
type groupLedger struct {
	mu      sync.Mutex
	results []published // guarded by mu
	tried   int         // guarded by mu
}

// publish queues calls of several functions until stop is closed.
func (l *groupLedger) publish(b *Bus, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		l.mu.Lock()
		number := strconv.Itoa(l.tried)
		l.tried++
		l.mu.Unlock()
		call := Call{Function: "f" + number[len(number)-1:], Method: "POST", Header: http.Header{"Number": {number}}}
		id, err := b.PublishCall(context.Background(), call)
		call.Header = http.Header{"Number": {number}}
		l.mu.Lock()
		l.results = append(l.results, published{call, id, err})
		l.mu.Unlock()
	}
}

func (l *groupLedger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.results)
}

// run publishes from many callers while disturb is called again and again.
func (l *groupLedger) run(t *testing.T, b *Bus, disturb func(round int)) {
	t.Helper()
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() { l.publish(b, stop) })
	}
	for round := range 4 {
		size := l.size()
		eventually(t, "calls are accepted", func() bool { return l.size() > size+400 })
		disturb(round)
	}
	size := l.size()
	eventually(t, "calls are accepted at the end", func() bool { return l.size() > size+400 })
	close(stop)
	callers.Wait()
	accepted(t, l.results)
	t.Logf("%d tried, %d in batches", l.tried, checkPlaces(t, b, l.results))
}

// Row 18, with batches.
func TestRestartsLoseNoGroupedCallAndDoubleNone(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t, syncAlways)
	b := connect(t, server, groupCommit)
	new(groupLedger).run(t, b, func(round int) {
		server.Stop()
		if round%2 == 1 {
			<-time.After(50 * time.Millisecond)
		}
		server.Start()
	})
}

// The same with a process that is killed, in the middle of batches as well.
func TestKillsLoseNoGroupedCallAndDoubleNone(t *testing.T) {
	t.Parallel()
	probe := bustest.Start(t) // finds a port that is free
	url, folder := probe.URL(), t.TempDir()
	probe.Stop()
	process := startProcess(t, url, folder)
	b := connect(t, probe, groupCommit)
	new(groupLedger).run(t, b, func(int) {
		kill(process)
		process = startProcess(t, url, folder)
	})
	kill(process)
}

// startProcess runs TestServerProcess in a process of its own.
func startProcess(t *testing.T, url, folder string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerProcess$")
	cmd.Env = append(os.Environ(), "BUS_TEST_URL="+url, "BUS_TEST_FOLDER="+folder)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // its error is the kill
	}
}

// TestServerProcess is no test but the server of those that kill one.
func TestServerProcess(t *testing.T) {
	url, folder := os.Getenv("BUS_TEST_URL"), os.Getenv("BUS_TEST_FOLDER")
	if folder == "" {
		t.Skip("it is run by the tests that kill a server")
	}
	bustest.Start(t, syncAlways, func(o *server.Options) {
		o.StoreDir = folder
		o.Port, _ = strconv.Atoi(url[len("nats://127.0.0.1:"):])
	})
	<-time.After(time.Minute) // longer than its parent lives
}
