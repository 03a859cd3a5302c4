package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How the load is while something is killed, and how long it goes on after all is there again.
const (
	syncRate, asyncRate = 40, 60
	afterRecovery       = 4 * time.Second
)

// ledgerFunction is called while Sluice's own pods are killed. It has one pod throughout, whose ledger is all that was delivered.
func ledgerFunction(name string) function {
	return function{name: name, replicas: 1, annotations: retried(annotationMin, "1", annotationParallel, "20")}
}

// disturbed is what became of the load around a disturbance.
type disturbed struct {
	sync, async result
	records     []record
	// at is when it began, over when the load was stopped.
	at, over time.Time
}

// underLoad calls the function, sync and async, before, during and after the disturbance, which returns when all is there again. Then it
// compares the ledger of the calls that were accepted with what the function has seen.
func (s *system) underLoad(ctx context.Context, t *testing.T, f function, disturb func()) (d disturbed) {
	t.Helper()
	pod := s.kube.awaitPods(ctx, t, f.name, 1)[0]
	s.load.start(ctx, t, "load-sync", spec{URL: s.sync(f.name, "/work?ms=5"), Concurrency: 8, Rate: syncRate, TimeoutSeconds: 40})
	s.load.start(ctx, t, "load-async", spec{URL: s.async(f.name, "/work?ms=50"), Concurrency: 16, Rate: asyncRate, TimeoutSeconds: 40})
	before, err := s.kube.stats(ctx, pod.Name)
	if err != nil {
		t.Fatal(err)
	}
	s.awaitCount(ctx, t, pod, before.Count+150)
	d.at = time.Now()
	disturb()
	if err := pass(ctx, afterRecovery); err != nil {
		t.Fatal(err)
	}
	d.over = time.Now()
	d.sync, d.async = s.load.stop(ctx, t, "load-sync"), s.load.stop(ctx, t, "load-async")
	s.awaitEmpty(ctx, t, f.name)
	now := s.kube.awaitPods(ctx, t, f.name, 1)[0]
	if now.UID != pod.UID || restarts(now) != restarts(pod) {
		t.Fatalf("the function's pod is another one, or has started again: %s, before %s", state(now), state(pod))
	}
	d.records = s.kube.records(ctx, t, now)
	t.Logf("sync: %v\nasync: %v", d.sync, d.async)
	return d
}

// report compares the ledger and notes the figures of one kind of kill.
func (s *system) report(t *testing.T, what string, d disturbed) {
	t.Helper()
	again := compare(t, d.async.Accepted, d.records, -1)
	s.figures.add(what+": longest time without a sync answer", "%.0f ms, %d of %d calls failed", d.sync.LongestGap.Millis, d.sync.failed(), d.sync.failed()+d.sync.succeeded())
	s.figures.add(what+": longest time without a 202", "%.0f ms, %d of %d calls refused", d.async.LongestGap.Millis, d.async.failed(), d.async.failed()+d.async.succeeded())
	s.figures.add(what+": longest time without a delivery", "%.0f ms; %d accepted, 0 lost, %d delivered again",
		float64(longestPause(d.records, d.at, d.over).Milliseconds()), len(d.async.Accepted), again)
}

// killedComponents kills one pod of each kind in turn. One function and its ledger serve them all.
func (s *system) killedComponents(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, ledgerFunction("ledger"))
	s.deployKnown(ctx, t, function{name: sleeping, annotations: annotated()})
	kills := []struct {
		sentence, component string
		victim              func(context.Context, *testing.T) corev1.Pod
	}{
		{"a gateway", "gateway", s.first("gateway")},
		{"the dispatcher", "dispatcher", s.first("dispatcher")},
		{"the leading scaler", "scaler", s.leadingScaler},
		{"the NATS server that leads the calls", "nats", s.streamLeader},
	}
	for _, k := range kills {
		s.scenario(t, "kill -9 of "+k.sentence+" under load loses no accepted call", 4*time.Minute, func(ctx context.Context, t *testing.T) {
			held := s.holds(ctx, t, f)
			d := s.underLoad(ctx, t, f, func() {
				victim := k.victim(ctx, t)
				s.kill(ctx, t, victim)
				if k.component == "scaler" {
					s.wakeWithoutLeader(ctx, t)
				}
				s.awaitRecovery(ctx, t, k.component, victim)
			})
			held()
			s.report(t, "kill -9 of "+k.sentence, d)
		})
	}
}

// first is the first pod of a component.
func (s *system) first(component string) func(context.Context, *testing.T) corev1.Pod {
	return func(ctx context.Context, t *testing.T) corev1.Pod {
		t.Helper()
		pods := s.running(ctx, t, component)
		if len(pods) == 0 {
			t.Fatalf("no pod of %s is ready", component)
		}
		return pods[0]
	}
}

// leadingScaler is the one whose name the Lease has.
func (s *system) leadingScaler(ctx context.Context, t *testing.T) corev1.Pod {
	t.Helper()
	lease, err := s.kube.CoordinationV1().Leases(s.kube.namespace).Get(ctx, release+"-scaler", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	holder := ""
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	for _, pod := range s.running(ctx, t, "scaler") {
		if holder == pod.Name || len(holder) > len(pod.Name) && holder[:len(pod.Name)] == pod.Name {
			return pod
		}
	}
	t.Fatalf("the Lease is held by %q, which is no scaler's pod", holder)
	return corev1.Pod{}
}

// sleeping is at zero until a leader has died.
const sleeping = "leaderless"

// wakeWithoutLeader calls a sleeping function when the leader has just died: that wakes by the next one.
func (s *system) wakeWithoutLeader(ctx context.Context, t *testing.T) {
	t.Helper()
	a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.sync(sleeping, "/work"), TimeoutSeconds: 90}, http.StatusOK)
	s.figures.add("kill -9 of the leading scaler: a call to a function at zero right after it", "%.1f s", a.End.Sub(a.Start).Seconds())
}

// streamLeader is the NATS pod that leads the stream of the calls, as the servers' monitoring says.
func (s *system) streamLeader(ctx context.Context, t *testing.T) corev1.Pod {
	t.Helper()
	pods := s.running(ctx, t, "nats")
	for _, pod := range pods {
		if leader := s.leaderSeenBy(ctx, t, pod); leader != "" {
			for _, pod := range pods {
				if pod.Name == leader {
					return pod
				}
			}
			t.Fatalf("the stream's leader is %q, which is no pod", leader)
		}
	}
	t.Fatal("no NATS server knows the leader of the stream")
	return corev1.Pod{}
}

// leaderSeenBy reads /jsz (docs.nats.io, monitoring).
func (s *system) leaderSeenBy(ctx context.Context, t *testing.T, pod corev1.Pod) string {
	t.Helper()
	status, body, err := s.kube.send(ctx, proxied{
		resource: "pods", target: podTarget(pod.Name, natsMonitor), path: "/jsz", query: map[string]string{"streams": "true"},
	})
	if err != nil || status != http.StatusOK {
		t.Fatalf("monitoring of %s: %d %v", pod.Name, status, err)
	}
	var jsz struct {
		Accounts []struct {
			Streams []struct {
				Name    string
				Cluster struct{ Leader string }
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.Unmarshal(body, &jsz); err != nil {
		t.Fatal(err)
	}
	for _, account := range jsz.Accounts {
		for _, stream := range account.Streams {
			if stream.Name == "sluice-calls" {
				return stream.Cluster.Leader
			}
		}
	}
	return ""
}

// holds looks at the wanted count of the function until the returned function is called: it must not change, whatever is killed (row 17).
func (s *system) holds(ctx context.Context, t *testing.T, f function) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	before, err := s.kube.workload(ctx, f.kind, f.name)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	changes := make(chan string, 1)
	go func() {
		defer close(changes)
		for pass(ctx, pace) == nil {
			now, err := s.kube.workload(ctx, f.kind, f.name)
			if err == nil && (now.replicas != before.replicas || now.generation != before.generation) {
				changes <- fmt.Sprintf("%s was scaled meanwhile: %+v, before %+v", f.name, now, before)
				return
			}
		}
	}()
	return func() {
		t.Helper()
		cancel()
		if change := <-changes; change != "" {
			t.Error(change)
		}
	}
}

// allNATSKilled ends all servers at the same moment: what was accepted is on their disks (row 18).
func (s *system) allNATSKilled(ctx context.Context, t *testing.T) {
	if s.node == nil {
		t.Skip("the servers' processes cannot be killed at the same moment here; removing their pods would remove their volumes")
	}
	f := s.deployKnown(ctx, t, ledgerFunction("ledger-all"))
	held := s.holds(ctx, t, f)
	d := s.underLoad(ctx, t, f, func() {
		servers := s.running(ctx, t, "nats")
		s.kill(ctx, t, servers...)
		s.awaitRecovery(ctx, t, "nats", servers...)
	})
	held()
	s.report(t, "kill -9 of all NATS servers at once", d)
}
