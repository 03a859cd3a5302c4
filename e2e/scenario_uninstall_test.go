package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// installOnABareCluster notes what there is, installs the chart with --wait, and looks at what has come.
func (s *system) installOnABareCluster(ctx context.Context, t *testing.T) {
	if s.settings.keep && s.helm(ctx, "status", release) == nil {
		s.load = loader{kube: s.kube, pod: s.kube.awaitPods(ctx, t, callerName, 1)[0].Name}
		return // an earlier run has kept it
	}
	var err error
	if s.before, err = s.kube.snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	took, err := s.install(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.figures.add("helm install --wait on a bare cluster", "%.1f s", took.Seconds())
	for component, want := range replicasOf {
		if pods := s.running(ctx, t, component); len(pods) != want {
			t.Errorf("%s: %d pods are ready after the installation, want %d", component, len(pods), want)
		}
	}
	s.startCaller(ctx, t)
}

const callerName = "e2e-caller"

// startCaller makes the pod that calls, which stays until the end.
func (s *system) startCaller(ctx context.Context, t *testing.T) {
	t.Helper()
	caller := function{name: callerName, kind: kindDeployment, image: s.settings.functionImage, mode: "call", replicas: 1}
	if err := s.kube.create(ctx, caller); err != nil {
		t.Fatal(err)
	}
	s.load = loader{kube: s.kube, pod: s.kube.awaitPods(ctx, t, caller.name, 1)[0].Name}
}

// uninstallLeavesNothing also holds that it leaves alone what is not Sluice's.
func (s *system) uninstallLeavesNothing(ctx context.Context, t *testing.T) {
	users := function{name: "a-users-own", kind: kindDeployment, image: s.settings.functionImage, replicas: 1, annotations: annotated()}
	if err := s.kube.create(ctx, users); err != nil {
		t.Fatal(err)
	}
	pod := s.kube.awaitPods(ctx, t, users.name, 1)[0]
	s.awaitKnown(ctx, t, users.name)
	if err := s.uninstall(ctx); err != nil {
		t.Fatal(err)
	}
	left, err := s.kube.CoreV1().Pods(s.kube.namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil || left.DeletionTimestamp != nil || !isReady(*left) {
		t.Errorf("the pod of a function is %v %v after the uninstall: it must go on", left.Status.Phase, err)
	}
	for _, f := range []function{users, {name: callerName, kind: kindDeployment}} {
		if err := s.kube.remove(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	until(ctx, t, "a cluster as it was before the installation", 90*time.Second, func(ctx context.Context) (bool, string) {
		after, err := s.kube.snapshot(ctx)
		if err != nil {
			return false, err.Error()
		}
		left := slices.DeleteFunc(after.added(s.before), func(object string) bool {
			return ofNamespace(object, s.kube.namespace) || s.node == nil && !ours(object, s.kube.namespace)
		})
		return len(left) == 0, fmt.Sprintf("left behind: %q", left)
	})
	if !s.before["namespaces /"+s.kube.namespace] {
		if err := s.kube.CoreV1().Namespaces().Delete(ctx, s.kube.namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
}
