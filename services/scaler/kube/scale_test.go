package kube

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/kube"
	"github.com/sluicefaas/sluice/services/scaler/scalertest"
)

// unseen is a function f of some replicas, whose next changes the observer does not see before release is called.
func unseen(t *testing.T, replicas int32) (n *namespace, cluster *Cluster, w *witness, release func()) {
	t.Helper()
	n = newNamespace(t)
	n.deploy("f", replicas, nil)
	n.deploy("other", 0, nil)
	cluster, w = n.cluster(), newWitness()
	watchWith(t, cluster, w)
	w.Wait(t, "f", patience, scalertest.Ready(int(replicas)))
	n.settled("f")
	w.Wait(t, "other", patience, scalertest.Ready(0))
	held, release := w.holdAt("other")
	t.Cleanup(release)
	n.somebodySets("other", 1)
	<-held
	return n, cluster, w, release
}

// settled waits until the Deployment's controller has nothing more to say.
func (n *namespace) settled(name string) {
	n.T.Helper()
	n.Eventually("the Deployment is at rest", func() bool {
		d, err := n.Admin.AppsV1().Deployments(n.Name).Get(n.T.Context(), name, metav1.GetOptions{})
		if err != nil {
			n.T.Fatal(err)
		}
		return d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == ptr.Deref(d.Spec.Replicas, 1)
	})
}

func TestCutDoesNotOverwriteAnUnseenRaise(t *testing.T) {
	t.Parallel()
	n, cluster, w, release := unseen(t, 2)
	n.somebodySets("f", 3)
	for range 2 { // not even when it is asked again before the observer has seen it
		if err := cluster.SetReplicas(t.Context(), "f", 0, nil); !errors.Is(err, ErrRaised) {
			t.Errorf("SetReplicas returned %v", err)
		}
	}
	if got := n.replicas("f"); got != 3 {
		t.Errorf("%d replicas are asked for, want 3", got)
	}
	release()
	w.Wait(t, "f", patience, scalertest.Ready(3))
	if err := cluster.SetReplicas(t.Context(), "f", 0, nil); err != nil {
		t.Error(err)
	}
	w.Wait(t, "f", patience, scalertest.Ready(0))
}

func TestRaiseLeavesAnUnseenHigherCount(t *testing.T) {
	t.Parallel()
	n, cluster, w, release := unseen(t, 1)
	n.somebodySets("f", 4)
	for _, count := range []int{2, 4} {
		if err := cluster.SetReplicas(t.Context(), "f", count, nil); err != nil {
			t.Error(err)
		}
		if got := n.replicas("f"); got != 4 {
			t.Errorf("%d replicas are asked for, want 4", got)
		}
	}
	if err := cluster.SetReplicas(t.Context(), "f", 5, nil); err != nil || n.replicas("f") != 5 {
		t.Errorf("%d replicas are asked for, want 5: %v", n.replicas("f"), err)
	}
	release()
	w.Wait(t, "f", patience, scalertest.Ready(5))
}

// A count that somebody has lowered is raised again: the function is in use.
func TestSameCountIsLookedUp(t *testing.T) {
	t.Parallel()
	n, cluster, _, _ := unseen(t, 2)
	n.somebodySets("f", 0)
	if err := cluster.SetReplicas(t.Context(), "f", 2, nil); err != nil || n.replicas("f") != 2 {
		t.Errorf("%d replicas are asked for, want 2: %v", n.replicas("f"), err)
	}
}

// A change of anything else is no reason to give up.
func TestOtherChangesAreNoConflict(t *testing.T) {
	t.Parallel()
	n, cluster, _, _ := unseen(t, 2)
	n.annotate("f", map[string]any{"somebody/was": "here"})
	if err := cluster.SetReplicas(t.Context(), "f", 1, nil); err != nil || n.replicas("f") != 1 {
		t.Errorf("%d replicas are asked for, want 1: %v", n.replicas("f"), err)
	}
	n.annotate("f", map[string]any{"somebody/was": "here again"})
	if err := cluster.SetReplicas(t.Context(), "f", 3, nil); err != nil || n.replicas("f") != 3 {
		t.Errorf("%d replicas are asked for, want 3: %v", n.replicas("f"), err)
	}
}

func TestReplacedWorkloadIsNotScaled(t *testing.T) {
	t.Parallel()
	n, cluster, w, release := unseen(t, 1)
	if err := n.Admin.AppsV1().Deployments(n.Name).Delete(t.Context(), "f", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := cluster.SetReplicas(t.Context(), "f", 3, nil); err == nil {
		t.Error("a Deployment that is gone was scaled")
	}
	n.deploy("f", 1, nil)
	for _, count := range []int{1, 3, 0} {
		if err := cluster.SetReplicas(t.Context(), "f", count, nil); !errors.Is(err, ErrReplaced) {
			t.Errorf("SetReplicas to %d returned %v", count, err)
		}
	}
	release()
	n.Eventually("the new one is observed", func() bool { return slices.Contains(w.all(), "forget f") })
	w.Wait(t, "f", patience, scalertest.Ready(1))
	if err := cluster.SetReplicas(t.Context(), "f", 0, nil); err != nil {
		t.Error(err)
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 0, nil)
	cluster := n.cluster()
	if err := cluster.SetReplicas(t.Context(), "f", 1, nil); !errors.Is(err, ErrNotWatching) {
		t.Errorf("before Watch: %v", err)
	}
	recorder, stop := scalertest.Watch(t, cluster)
	recorder.WaitSynced(t, patience)
	for _, count := range []int{-1, function.MaxReplicas + 1} {
		if err := cluster.SetReplicas(t.Context(), "f", count, nil); err == nil || !strings.Contains(err.Error(), "from 0 to 10000") {
			t.Errorf("%d replicas: %v", count, err)
		}
	}
	if err := cluster.SetReplicas(t.Context(), "g", 1, nil); !errors.Is(err, ErrUnknownFunction) {
		t.Errorf("an unknown function: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cluster.SetReplicas(ended, "f", 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	stop()
	if err := cluster.SetReplicas(t.Context(), "f", 1, nil); !errors.Is(err, ErrNotWatching) {
		t.Errorf("after Watch: %v", err)
	}
	if got := n.replicas("f"); got != 0 {
		t.Errorf("%d replicas are asked for, want 0", got)
	}
}

// Of the requests for one function one is carried out at a time, and of all not too many; who waits gives up when its context ends.
func TestRequestsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	c := newCluster(&Client{Client: &kube.Client{}, logger: zerolog.Nop()})
	c.open()
	c.tell("f", observation{})
	f, err := c.find("f")
	if err != nil {
		t.Fatal(err)
	}
	done, err := c.enter(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	requireWait := func(name string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := c.SetReplicas(ctx, name, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("SetReplicas of %s returned %v", name, err)
		}
	}
	requireWait("f")
	c.tell("g", observation{})
	for len(c.slots) < maxScaling {
		c.slots <- struct{}{}
	}
	requireWait("g")
	<-c.slots
	for _, name := range []string{"f", "g"} { // each turn was given back
		if name == "f" {
			done()
		}
		free, err := c.find(name)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.enter(t.Context(), free)
		if err != nil {
			t.Fatal(err)
		}
		again()
	}
}

// Whatever somebody else has written into the object stays, and stays theirs.
func TestNothingButTheCountIsTouched(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 1, nil)
	cluster, recorder, _ := n.watch()
	recorder.Wait(t, "f", patience, scalertest.Ready(1))
	n.settled("f")
	before := n.get("f")
	for i, count := range []int{3, 2, 0, 1} {
		if err := cluster.SetReplicas(t.Context(), "f", count, podNames(recorder.Wait(t, "f", patience, anything))); err != nil {
			t.Fatal(err)
		}
		recorder.Wait(t, "f", patience, scalertest.Ready(count))
		if generation := n.get("f").Generation; generation != before.Generation+int64(i)+1 {
			t.Errorf("the object was written %d times for %d counts", generation-before.Generation, i+1)
		}
		requireOwnership(t, n.get("f"), count)
	}
	n.settled("f")
	after := n.get("f")
	if was, is := text(t, before.Spec), text(t, after.Spec); was != is { // both ask for one replica
		t.Errorf("the specification was\n%s, and is\n%s", was, is)
	}
	for _, annotations := range []map[string]string{before.Annotations, after.Annotations} {
		delete(annotations, "deployment.kubernetes.io/revision") // of the Deployment's controller
	}
	if !maps.Equal(before.Annotations, after.Annotations) || !maps.Equal(before.Labels, after.Labels) {
		t.Errorf("metadata was %v, %v, and is %v, %v", before.Annotations, before.Labels, after.Annotations, after.Labels)
	}
}

func anything(function.Workload) bool { return true }

func (n *namespace) get(name string) *appsv1.Deployment {
	n.T.Helper()
	d, err := n.Admin.AppsV1().Deployments(n.Name).Get(n.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		n.T.Fatal(err)
	}
	return d
}

func text(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// requireOwnership checks what the API server noted about who has written which field. For a count of zero, and from then on, it
// notes nobody.
func requireOwnership(t *testing.T, d *appsv1.Deployment, count int) {
	t.Helper()
	ours := 0
	for _, entry := range d.ManagedFields {
		if entry.Manager != "sluice-scaler" {
			continue
		}
		ours++
		if fields := entry.FieldsV1.GetRawString(); entry.Subresource != "scale" || fields != `{"f:spec":{"f:replicas":{}}}` {
			t.Errorf("we have written %s through %q", fields, entry.Subresource)
		}
	}
	if ours != 1 && count > 1 {
		t.Errorf("%d entries of managed fields are ours: %s", ours, text(t, d.ManagedFields))
	}
}

// Left to itself, a ReplicaSet ends the newest: the cost makes it end what the scaler has drained.
func TestDeletionCostPicksTheVictims(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 4, nil)
	cluster, recorder, _ := n.watch()
	old := podNames(recorder.Wait(t, "f", patience, scalertest.Ready(4)))
	if err := cluster.SetReplicas(t.Context(), "f", 8, nil); err != nil {
		t.Fatal(err)
	}
	all := recorder.Wait(t, "f", patience, scalertest.Ready(8))
	if err := cluster.SetReplicas(t.Context(), "f", 4, append(old, "no-such-pod")); err != nil {
		t.Fatal(err)
	}
	left := podNames(recorder.Wait(t, "f", patience, scalertest.Ready(4)))
	for _, name := range old {
		if slices.Contains(left, name) {
			t.Errorf("of %v, %v are left, although %v were to end", podNames(all), left, old)
		}
	}
	for _, name := range left {
		if cost, marked := n.pod(name).Annotations[corev1.PodDeletionCost]; marked {
			t.Errorf("pod %s, which was no victim, has the cost %s", name, cost)
		}
	}
}

func (n *namespace) pod(name string) *corev1.Pod {
	n.T.Helper()
	pod, err := n.Admin.CoreV1().Pods(n.Name).Get(n.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		n.T.Fatal(err)
	}
	return pod
}

// A replica that was to end and was kept is as dear as the others at the next cut.
func TestOldMarksAreTakenAway(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 3, nil)
	cluster, recorder, _ := n.watch()
	names := podNames(recorder.Wait(t, "f", patience, scalertest.Ready(3)))
	if err := cluster.mark(t.Context(), map[string]bool{names[0]: false}, names[:1]); err != nil {
		t.Fatal(err)
	}
	n.Eventually("the mark is seen", func() bool {
		known, _ := cluster.known("f")
		return known.pods[names[0]]
	})
	if err := cluster.SetReplicas(t.Context(), "f", 2, names[1:2]); err != nil {
		t.Fatal(err)
	}
	left := podNames(recorder.Wait(t, "f", patience, scalertest.Ready(2)))
	if !slices.Equal(left, []string{names[0], names[2]}) {
		t.Errorf("of %v, %v are left", names, left)
	}
	if cost, marked := n.pod(names[0]).Annotations[corev1.PodDeletionCost]; marked {
		t.Errorf("the kept pod still has the cost %s", cost)
	}
}
