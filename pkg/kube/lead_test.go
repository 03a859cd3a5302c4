package kube

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
)

// candidate is a process that wants to lead, with what happened to it.
type candidate struct {
	t      *testing.T
	client *Client
	began  chan time.Time
	// told is when the context of a term ended, ended when the term had returned after lag.
	told, ended chan time.Time
	lag         time.Duration
	stop        func() error
}

// run starts one. Its terms end when their context does, after a while.
func (n *namespace) run(config Config, lag time.Duration) *candidate {
	n.T.Helper()
	t, _ := n.T.(*testing.T)
	c := &candidate{
		t: t, client: n.connect(config), lag: lag,
		began: make(chan time.Time, 9), told: make(chan time.Time, 9), ended: make(chan time.Time, 9),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.client.Lead(ctx, c.term) }()
	c.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *candidate) term(ctx context.Context) error {
	c.began <- time.Now()
	<-ctx.Done()
	c.told <- time.Now()
	<-time.After(c.lag)
	c.ended <- time.Now()
	return nil
}

func (c *candidate) next(what string, event <-chan time.Time) time.Time {
	c.t.Helper()
	select {
	case at := <-event:
		return at
	case <-time.After(kubetest.Patience):
		c.t.Fatalf("%s: no %s", c.client.config.Identity, what)
		return time.Time{}
	}
}

func (n *namespace) holder() string {
	n.T.Helper()
	lease, err := n.Admin.CoordinationV1().Leases(n.Name).Get(n.T.Context(), "sluice-tester", metav1.GetOptions{})
	if err != nil {
		n.T.Fatal(err)
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// brisk is a Lease for tests in which nobody has to wait for long.
func (n *namespace) brisk(identity string) Config {
	config := n.config(identity)
	config.LeaseDuration, config.RenewDeadline, config.RetryPeriod = 3*time.Second, 1500*time.Millisecond, 200*time.Millisecond
	return config
}

// With the times that are the default.
func TestStandbyTakesOverAtOnceFromALeaderThatEnds(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	a := n.run(n.config("a"), 300*time.Millisecond)
	a.next("term", a.began)
	b := n.run(n.config("b"), 0)
	n.Eventually("b stands by", func() bool { return len(n.Logs.With(`"client":"b"`, `"leader":"a"`, "stands by")) == 1 })
	begun := time.Now()
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	took := b.next("term", b.began)
	if ended := a.next("end", a.ended); took.Before(ended) {
		t.Errorf("b led %v before a's term had returned", ended.Sub(took))
	}
	t.Logf("takeover from a leader that ends: %v after it was told to, %v after its work had ended", took.Sub(begun), took.Sub(begun)-300*time.Millisecond)
}

// With the times that are the default: the leader is gone without a word, and its connections hang.
func TestStandbyTakesOverFromALeaderThatIsLost(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	config := n.config("a")
	var network *kubetest.Proxy
	config.Kubeconfig, network = n.Through()
	a := n.run(config, 0)
	a.next("term", a.began)
	b := n.run(n.config("b"), 0)
	n.Eventually("b stands by", func() bool { return len(n.Logs.With(`"client":"b"`, `"leader":"a"`)) == 1 })
	lost := time.Now()
	network.Stall()
	told := a.next("end", a.told)
	took := b.next("term", b.began)
	t.Logf("a leader that is cut off stops after %v; takeover from a leader that is lost: %v", told.Sub(lost), took.Sub(lost))
	if !told.Before(took) {
		t.Errorf("a stopped %v after b had begun", told.Sub(took))
	}

	network.Resume()
	n.Eventually("a stands by", func() bool { return len(n.Logs.With(`"client":"a"`, `"leader":"b"`, "stands by")) == 1 })
	if err := a.stop(); err != nil { // which must not give up what is b's
		t.Error(err)
	}
	if holder := n.holder(); holder != "b" {
		t.Errorf("the lease is held by %q", holder)
	}
}

// A container that was killed comes back with its pod's name: it needs not wait for the end of its own Lease.
func TestTheSameNameGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	config := n.config("a")
	config.LeaseDuration = time.Minute
	direct := config
	var network *kubetest.Proxy
	config.Kubeconfig, network = n.Through()
	a := n.run(config, 0)
	a.next("term", a.began)
	network.Stall()
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	if holder := n.holder(); holder != "a" {
		t.Fatalf("the lease is held by %q: it was given up", holder)
	}
	begun := time.Now()
	again := n.run(direct, 0)
	took := again.next("term", again.began).Sub(begun)
	t.Logf("a leader that was killed and comes back leads after %v", took)
	if took > config.LeaseDuration/3 {
		t.Error("it waited for the end of its own lease")
	}
}

// The Lease is held as long as the work takes to end, and given up right then.
func TestLeaseIsHeldUntilTheTermHasReturned(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	lag := 2 * n.brisk("").LeaseDuration
	a := n.run(n.brisk("a"), lag)
	a.next("term", a.began)
	b := n.run(n.brisk("b"), 0)
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	ended, took := a.next("end", a.ended), b.next("term", b.began)
	if took.Before(ended) {
		t.Errorf("b led %v after a's work had ended", took.Sub(ended))
	}
}

// Cut off again and again, a process leads again and again, and never two do.
func TestLostLeaseIsTakenAgain(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	config := n.brisk("a")
	var network *kubetest.Proxy
	config.Kubeconfig, network = n.Through()
	a := n.run(config, 0)
	registry := prometheus.NewRegistry()
	registry.MustRegister(a.client.Leader())
	for term := range 3 {
		a.next("term", a.began)
		n.Eventually("it says that it leads", func() bool { return testutil.ToFloat64(a.client.Leader()) == 1 })
		network.Stall()
		a.next("end", a.ended)
		n.Eventually("it says that it leads no more", func() bool { return testutil.ToFloat64(a.client.Leader()) == 0 })
		if term == 1 {
			network.Cut()
		}
		network.Resume()
	}
	a.next("term", a.began)
	if families, err := registry.Gather(); err != nil || len(families) != 1 || families[0].GetName() != "sluice_tester_leader" {
		t.Errorf("the registry has %v, %v", families, err)
	}
	if lost := n.Logs.With("not renewed in time"); len(lost) != 3 {
		t.Errorf("%d losses are told of", len(lost))
	}
}

// A leader whose work fails is no leader: the process ends, and another one may try at once.
func TestFailedTermEndsTheProcess(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	failure := errors.New("the cluster cannot be watched")
	for _, returned := range []error{failure, nil} {
		err := n.connect(n.brisk("a")).Lead(t.Context(), func(context.Context) error { return returned })
		if err == nil || !strings.HasPrefix(err.Error(), "work as the leader: ") || returned != nil && !errors.Is(err, returned) {
			t.Errorf("after %v Lead returned %v", returned, err)
		}
		if holder := n.holder(); holder != "" {
			t.Errorf("the lease is held by %q", holder)
		}
	}
}
