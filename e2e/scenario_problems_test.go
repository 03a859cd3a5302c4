package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// neverReady calls a function whose readiness probe never succeeds.
func (s *system) neverReady(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "never-ready", annotations: annotated(), env: map[string]string{"NEVER_READY": "yes"}})
	a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.sync(f.name, "/work"), TimeoutSeconds: 90}, http.StatusServiceUnavailable)
	if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Errorf("Retry-After is %q, want seconds", a.Header.Get("Retry-After"))
	}
	if !strings.Contains(a.Body, "urn:sluice:problem:function-not-ready") {
		t.Errorf("the answer is %s, want the problem function-not-ready", a.Body)
	}
	if took := a.End.Sub(a.Start); took < startWait-time.Second || took > startWait+10*time.Second {
		t.Errorf("it was held for %s, want %s", took, startWait)
	}
	d := s.awaitDescription(ctx, t, f.name, "a reason", func(d description) bool { return len(d.Problems) > 0 })
	t.Logf("shown: %q", d.Problems)
	if problem := strings.Join(d.Problems, " "); !strings.Contains(strings.ToLower(problem), "read") {
		t.Errorf("the problems %q do not say that it does not become ready", d.Problems)
	}
}

// missingImage wakes a function whose image nobody has.
func (s *system) missingImage(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "no-image", image: "registry.invalid/missing:1", annotations: annotated()})
	s.wake(ctx, t, f.name)
	d := s.awaitDescription(ctx, t, f.name, "the missing image as a problem", func(d description) bool {
		return strings.Contains(strings.Join(d.Problems, " "), "registry.invalid/missing:1")
	})
	t.Logf("shown: %q", d.Problems)
}

func (s *system) wake(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.gatewayURL() + "/wake-function/" + name}, http.StatusNoContent)
}

// exceededQuota wakes a function for which there is no room, until there is.
func (s *system) exceededQuota(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "no-quota", annotations: annotated()})
	quotas := s.kube.CoreV1().ResourceQuotas(s.kube.namespace)
	none := corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}
	_, err := quotas.Create(ctx, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "no-pods"}, Spec: corev1.ResourceQuotaSpec{Hard: none}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	removed := false
	remove := func() {
		if err := quotas.Delete(context.WithoutCancel(ctx), "no-pods", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		removed = true
	}
	defer func() {
		if !removed {
			remove()
		}
	}()
	until(ctx, t, "the quota in force", 30*time.Second, func(ctx context.Context) (bool, string) {
		quota, err := quotas.Get(ctx, "no-pods", metav1.GetOptions{})
		return err == nil && len(quota.Status.Hard) > 0, fmt.Sprint(err)
	})
	s.wake(ctx, t, f.name)
	d := s.awaitDescription(ctx, t, f.name, "the quota as a problem", func(d description) bool {
		return strings.Contains(strings.Join(d.Problems, " "), "quota")
	})
	t.Logf("shown: %q", d.Problems)
	remove()
	s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.sync(f.name, "/work")}, http.StatusOK)
	s.awaitDescription(ctx, t, f.name, "no problem any more", func(d description) bool { return len(d.Problems) == 0 })
}

// otherNamespace has annotated workloads where Sluice is not, and names that are none of a function (row 4).
func (s *system) otherNamespace(ctx context.Context, t *testing.T) {
	elsewhere := s.kube.namespace + "-elsewhere"
	if err := s.kube.ensureNamespace(ctx, elsewhere); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.kube.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), elsewhere, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()
	known := s.deployKnown(ctx, t, function{name: "known", annotations: annotated()})
	others := s.deploy(ctx, t, function{name: "others", namespace: elsewhere, replicas: 1, annotations: annotated(annotationTimeout, "1")})
	dotted := s.deploy(ctx, t, function{name: "dot.ted", replicas: 1, annotations: annotated(annotationTimeout, "1")})
	for _, path := range []string{"others", "others." + elsewhere, elsewhere + "/others", elsewhere + "%2fothers", "../" + elsewhere + "/others", "dot.ted", "dot"} {
		a, err := s.load.do(ctx, call{Method: http.MethodPost, URL: s.gatewayURL() + "/function/" + path + "/work"})
		if err != nil || a.Status != http.StatusNotFound {
			t.Errorf("a call of %q: %v %v, want 404", path, a, err)
		}
	}
	throughout(ctx, t, "workloads that are not Sluice's stay as they are", 8*time.Second, func(ctx context.Context) (bool, string) {
		a, err := s.kube.AppsV1().Deployments(elsewhere).Get(ctx, others.name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		b, err := s.kube.workload(ctx, kindDeployment, dotted.name)
		if err != nil {
			return false, err.Error()
		}
		return *a.Spec.Replicas == 1 && a.Generation == 1 && b.replicas == 1 && b.generation == 1, fmt.Sprintf("others %d, dot.ted %+v", *a.Spec.Replicas, b)
	})
	if _, err := s.describe(ctx, known.name); err != nil {
		t.Errorf("a function beside them: %v", err)
	}
}

// endpointsArePods holds that an endpoint is a pod's own address and a port by number (row 10): a URL in an annotation is refused.
func (s *system) endpointsArePods(ctx context.Context, t *testing.T) {
	f := s.deployKnown(ctx, t, function{name: "addressed", replicas: 2, annotations: annotated(annotationPort, "http://169.254.169.254:80/latest")})
	pods := s.kube.awaitPods(ctx, t, f.name, 2)
	d := s.awaitDescription(ctx, t, f.name, "two endpoints", func(d description) bool { return len(d.Endpoints) == 2 })
	for _, pod := range pods {
		want := fmt.Sprintf("{%s %s:%d}", pod.Name, pod.Status.PodIP, functionPort)
		if got := fmt.Sprint(d.Endpoints); !strings.Contains(got, want) {
			t.Errorf("the endpoints are %s, want %s among them", got, want)
		}
	}
	if got := strings.Join(d.Problems, " "); !strings.Contains(got, annotationPort) {
		t.Errorf("the problems %q do not name %s", d.Problems, annotationPort)
	}
	t.Logf("shown: %q", d.Problems)
}
