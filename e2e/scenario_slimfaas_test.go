package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/sluicefaas/sluice/e2e/tour"
)

// slimFaasTour applies the manifests of SlimFaas's demo as they are, and takes the tour through the API server's proxy, which is outside.
func (s *system) slimFaasTour(ctx context.Context, t *testing.T) {
	if s.node == nil {
		t.Skip("the demo's images are on no cluster but the one that this test builds")
	}
	files, err := filepath.Glob(filepath.Join(s.settings.root, "deploy", "demo", "slimfaas", "manifests", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the manifests of the demo: %v (%v)", files, err)
	}
	for _, file := range files {
		s.apply(ctx, t, file)
	}
	for _, name := range []string{"fibonacci1", "fibonacci2", "fibonacci3", "fibonacci4", "mysql"} {
		s.awaitKnown(ctx, t, name)
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 1000, 1000
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	tour.Take(ctx, t, tour.HTTPGateway{Client: client, URL: strings.TrimSuffix(config.Host, "/") + "/api/v1/namespaces/" + s.kube.namespace +
		"/services/" + serviceGateway + ":http/proxy"})
}

// apply makes the Deployment, StatefulSet or CronJob of the file, and removes it when the scenario is over.
func (s *system) apply(ctx context.Context, t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(text, &meta); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	switch meta.Kind {
	case kindDeployment:
		var d appsv1.Deployment
		if err := yaml.UnmarshalStrict(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		_, err = s.kube.AppsV1().Deployments(s.kube.namespace).Create(ctx, &d, metav1.CreateOptions{})
		s.removeLater(t, meta.Kind, d.Name)
	case kindStatefulSet:
		var set appsv1.StatefulSet
		if err := yaml.UnmarshalStrict(text, &set); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		_, err = s.kube.AppsV1().StatefulSets(s.kube.namespace).Create(ctx, &set, metav1.CreateOptions{})
		s.removeLater(t, meta.Kind, set.Name)
	case kindCronJob:
		var cron batchv1.CronJob
		if err := yaml.UnmarshalStrict(text, &cron); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		s.create(ctx, t, &cron)
	default:
		t.Fatalf("%s: kind %q is not in the demo", file, meta.Kind)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func (s *system) removeLater(t *testing.T, kind, name string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.kube.remove(ctx, function{kind: kind, name: name}); ignoreNotFound(err) != nil {
			t.Errorf("remove %s: %v", name, err)
		}
	})
}
