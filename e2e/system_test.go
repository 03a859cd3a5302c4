package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// system is the cluster with Sluice in it.
type system struct {
	settings settings
	// node is the one that this test has built, nil on an existing cluster.
	node       node
	kubeconfig string
	kube       *kube
	load       loader
	// tags are those of the images, by the names of their tars.
	tags map[string]string
	// scratch is a folder for files.
	scratch string
	figures figures
	// before is what there was in the cluster before the installation.
	before snapshot
	// dumps counts what was told of failures, so that a scenario of scenarios does not tell it again.
	dumps int
}

// node is a cluster on this machine, whose API server can be stopped and whose processes can be killed.
type node interface {
	StopAPI(ctx context.Context) error
	StartAPI(ctx context.Context) error
}

// The components of Sluice and how many pods the chart's defaults give them.
var replicasOf = map[string]int{"gateway": 2, "dispatcher": 1, "scaler": 2, "jobrunner": 2, "nats": 3}

// component are the pods of one of Sluice's, by name.
func (s *system) component(ctx context.Context, name string) ([]corev1.Pod, error) {
	list, err := s.kube.CoreV1().Pods(s.kube.namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/instance=" + release + ",app.kubernetes.io/component=" + name,
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// running are the pods of a component that are ready.
func (s *system) running(ctx context.Context, t *testing.T, name string) []corev1.Pod {
	t.Helper()
	pods, err := s.component(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || !isReady(p) })
}

// open connects to the cluster, building one if none is named, and brings the images to it.
func open(t *testing.T) *system {
	t.Helper()
	configuration, err := readSettings()
	if err != nil {
		t.Fatal(err)
	}
	s := &system{settings: configuration, scratch: t.TempDir(), tags: map[string]string{}}
	files, err := configuration.imageFiles()
	if err != nil {
		configuration.cannot(t, err.Error())
	}
	for _, file := range files {
		name, err := reference(file)
		if err != nil {
			t.Fatal(err)
		}
		s.tags[strings.TrimSuffix(filepath.Base(file), ".tar")] = tag(name)
	}
	s.kubeconfig = configuration.kubeconfig
	if s.kubeconfig == "" {
		s.startNode(t, files)
	}
	if s.kube, err = connect(s.kubeconfig, configuration.namespace); err != nil {
		t.Fatal(err)
	}
	return s
}

// scenario runs one as a sub-test with its own limit of time. After a failure it tells what the cluster looks like.
func (s *system) scenario(t *testing.T, sentence string, limit time.Duration, run func(context.Context, *testing.T)) bool {
	t.Helper()
	return t.Run(sentence, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("the scenario's limit of %s is over", limit))
		defer cancel()
		told := s.dumps
		defer func() {
			if t.Failed() && s.dumps == told {
				s.dump(t)
			}
		}()
		run(ctx, t)
	})
}

// deploy makes the function and removes it when the scenario is over.
func (s *system) deploy(ctx context.Context, t *testing.T, f function) function {
	t.Helper()
	if f.kind == "" {
		f.kind = kindDeployment
	}
	if f.image == "" {
		f.image = s.settings.functionImage
	}
	if err := s.kube.create(ctx, f); err != nil {
		t.Fatalf("make %s: %v", f.name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.kube.remove(ctx, f); ignoreNotFound(err) != nil {
			t.Errorf("remove %s: %v", f.name, err)
		}
	})
	return f
}

// deployKnown also waits until the gateways know it.
func (s *system) deployKnown(ctx context.Context, t *testing.T, f function) function {
	t.Helper()
	f = s.deploy(ctx, t, f)
	s.awaitKnown(ctx, t, f.name)
	return f
}

// awaitKnown waits until every gateway has the function.
func (s *system) awaitKnown(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	until(ctx, t, "the gateways to know "+name, 30*time.Second, func(ctx context.Context) (bool, string) {
		gateways, err := s.component(ctx, "gateway")
		if err != nil || len(gateways) == 0 {
			return false, fmt.Sprintf("gateways %v %v", names(gateways), err)
		}
		for _, pod := range gateways {
			status, _, err := s.kube.send(ctx, proxied{resource: "pods", target: podTarget(pod.Name, 5000), path: "/functions/" + name})
			if status != 200 {
				return false, fmt.Sprintf("%s answers %d %v", pod.Name, status, err)
			}
		}
		return true, ""
	})
}

// describe asks a gateway.
func (s *system) describe(ctx context.Context, name string) (d description, err error) {
	return d, s.kube.readJSON(ctx, proxied{resource: "services", target: serviceGateway + ":http", path: "/functions/" + name}, &d)
}

// awaitDescription waits until the condition on what a gateway says of the function is true.
func (s *system) awaitDescription(ctx context.Context, t *testing.T, name, what string, condition func(description) bool) (d description) {
	t.Helper()
	until(ctx, t, name+": "+what, 90*time.Second, func(ctx context.Context) (ok bool, seen string) {
		var err error
		if d, err = s.describe(ctx, name); err != nil {
			return false, err.Error()
		}
		return condition(d), fmt.Sprintf("%+v", d)
	})
	return d
}

// awaitEmpty waits until the function's queue is.
func (s *system) awaitEmpty(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	s.awaitDescription(ctx, t, name, "an empty queue", func(d description) bool { return d.Queued != nil && *d.Queued == 0 })
}

// sync and async are the URLs of a call.
func (s *system) sync(name, path string) string { return s.gatewayURL() + "/function/" + name + path }
func (s *system) async(name, path string) string {
	return s.gatewayURL() + "/async-function/" + name + path
}

func notFound(err error) bool { return apierrors.IsNotFound(err) }

func ignoreNotFound(err error) error {
	if notFound(err) {
		return nil
	}
	return err
}

// keepFile writes one that is for the person who runs the tests.
func (s *system) keepFile(name, text string) error {
	return os.WriteFile(s.settings.bin(name), []byte(text), 0o600)
}
