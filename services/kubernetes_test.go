package services_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFromZeroAndBackOnKubernetes(t *testing.T) {
	c := startCluster(t, "3", "a", "b")
	t.Logf("sync call from zero: %s", c.call("f"))
	t.Logf("sync call to one that is awake: %s", c.call("f"))
	c.waitZero()
	var ids []string
	begun := time.Now()
	for range 50 {
		ids = append(ids, c.gateway.queue("?ms=20"))
	}
	eventually(t, "every queued call has ended", func() bool { return len(c.kubelet.ended()) == len(ids) })
	t.Logf("50 async calls of 20 ms from zero, ten at once: %s", time.Since(begun))
	for _, id := range ids {
		if n := c.kubelet.ended()[id]; n != 1 {
			t.Errorf("call %s ended %d times", id, n)
		}
	}
	c.waitZero()
}

// One of two scalers leads; the other one is as healthy, and has no metrics of functions.
func TestTheStandbyIsReady(t *testing.T) {
	c := startCluster(t, "60", "a", "b")
	leader := c.waitLeader("")
	for name, p := range c.scalers {
		for _, path := range []string{"/ready", "/health"} {
			if got := send(t, http.MethodGet, "http://"+p.ops+path, ""); got.status != http.StatusOK {
				t.Errorf("%s of scaler %s: %d %s", path, name, got.status, got.body)
			}
		}
		metrics := send(t, http.MethodGet, "http://"+p.ops+"/metrics", "").body
		leads, counts := strings.Contains(metrics, "\nsluice_scaler_leader 1\n"), strings.Contains(metrics, `sluice_replicas_wanted{function="f"}`)
		if leads != (name == leader) || counts != (name == leader) {
			t.Errorf("%s leads, and the metrics of %s say that it does: %t; they have functions: %t", leader, name, leads, counts)
		}
	}
}

// The leading scaler is told to end, and the next one is killed: each time another one leads, functions that are awake are
// called meanwhile, and one that sleeps wakes.
func TestTheLeadingScalerEnds(t *testing.T) {
	c := startCluster(t, "600", "a", "b")
	c.call("f")
	stop := make(chan struct{})
	failures := c.keepCalling("f", stop)
	leader := c.waitLeader("")
	for n, end := range []func(p *process){
		func(p *process) {
			p.terminate()
			if code := p.exited(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		},
		func(p *process) { p.kill() },
	} {
		ended := c.scalers[leader]
		begun := time.Now()
		end(ended)
		next := c.waitLeader(leader)
		t.Logf("from the end of the leading scaler (%s) to another one: %s", []string{"SIGTERM", "SIGKILL"}[n], time.Since(begun))
		ended.launch()
		name := "g" + leader
		c.deploy(name, "600")
		c.waitKnown(name)
		t.Logf("a new function, from zero: %s", c.call(name))
		leader = next
	}
	close(stop)
	if failed := <-failures; len(failed) > 0 {
		t.Errorf("%d calls failed meanwhile, such as %s", len(failed), failed[0])
	}
}

// keepCalling makes sync and async calls until stop is closed; then the channel gives what failed.
func (c *thinCluster) keepCalling(name string, stop <-chan struct{}) <-chan []string {
	result := make(chan []string, 1)
	go func() {
		var failed []string
		for n := 0; ; n++ {
			select {
			case <-stop:
				result <- failed
				return
			case <-time.After(20 * time.Millisecond):
			}
			route, want := "/function/", http.StatusOK
			if n%2 == 1 {
				route, want = "/async-function/", http.StatusAccepted
			}
			if got := send(c.t, http.MethodPost, "http://"+c.gateway.api+route+name, ""); got.status != want {
				failed = append(failed, got.body)
			}
		}
	}()
	return result
}

// The API server is away for longer than the Lease lasts: calls go on, sync and async, nothing is scaled, and all catches up.
func TestTheAPIServerIsAway(t *testing.T) {
	c := startCluster(t, "2", "a") // its second term is in the same process
	c.deploy("sleeper", "600")
	c.waitKnown("sleeper")
	c.call("f")
	stop := make(chan struct{})
	failures := c.keepCalling("f", stop)
	startAPI := c.stopAPI()
	eventually(t, "the scaler leads no more", func() bool {
		return strings.Contains(send(t, http.MethodGet, "http://"+c.scalers["a"].ops+"/metrics", "").body, "\nsluice_scaler_leader 0\n")
	})
	before := len(c.kubelet.ended())
	eventually(t, "queued calls are still delivered", func() bool { return len(c.kubelet.ended()) > before+20 })
	if got := send(t, http.MethodGet, "http://"+c.scalers["a"].ops+"/health", ""); got.status != http.StatusOK {
		t.Errorf("/health of the scaler: %d %s", got.status, got.body)
	}
	woken := make(chan time.Duration, 1)
	go func() { woken <- c.call("sleeper") }() // held until somebody can scale
	back := time.Now()
	startAPI()
	c.waitAsked("sleeper", 1)
	t.Logf("from start-api to a function that was called meanwhile being scaled: %s", time.Since(back))
	close(stop)
	if failed := <-failures; len(failed) > 0 {
		t.Errorf("%d calls failed meanwhile, such as %s", len(failed), failed[0])
	}
	<-woken // it has its own limit
	c.waitAsked("f", 0)
}

// The API server is away when everything starts: all processes live, and serve when it comes.
func TestTheAPIServerComesLater(t *testing.T) {
	c := newThinCluster(t)
	c.deploy("f", "600")
	startAPI := c.stopAPI()
	c.startServices("a")
	c.scalers["a"].readiness(http.StatusOK)
	c.gateway.readiness(http.StatusServiceUnavailable)
	for _, p := range c.services() {
		eventually(t, p.service+" is healthy", func() bool {
			return send(t, http.MethodGet, "http://"+p.ops+"/health", "").status == http.StatusOK
		})
	}
	startAPI()
	c.gateway.readiness(http.StatusOK)
	c.waitKnown("f")
	if got := send(t, http.MethodPost, "http://"+c.gateway.api+"/wake-function/f", ""); got.status >= http.StatusBadRequest {
		t.Errorf("wake: %d %s", got.status, got.body)
	}
	c.waitAsked("f", 1)
}
