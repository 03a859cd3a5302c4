package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How many functions there are when memory is read, and how many requests make them at the same time.
var crowds = []int{100, 2000}

const (
	makers = 8
	calm   = 8 * time.Second
)

// memory reads how much of it each service takes with some and with many functions, which sleep.
func (s *system) memory(ctx context.Context, t *testing.T) {
	defer s.removeCrowd(context.WithoutCancel(ctx), t)
	made := 0
	for _, crowd := range crowds {
		began := time.Now()
		s.makeCrowd(ctx, t, made, crowd)
		made = crowd
		until(ctx, t, fmt.Sprintf("the gateway to know %d functions", crowd), 3*time.Minute, func(ctx context.Context) (bool, string) {
			known, err := s.knownCrowd(ctx)
			return known >= crowd, fmt.Sprint(known, err)
		})
		t.Logf("%d functions are known after %s", crowd, time.Since(began).Round(time.Second))
		s.awaitReplicaSets(ctx, t, crowd)
		for _, component := range []string{"gateway", "dispatcher", "scaler", "jobrunner", "nats"} {
			s.figures.add(fmt.Sprintf("memory of a %s with %d functions", component, crowd), "%.0f MB", s.highest(ctx, t, component)/1e6)
		}
	}
	s.callBesideCrowd(ctx, t)
}

// awaitReplicaSets waits until the Deployments' controller has done its work, which the scaler follows.
func (s *system) awaitReplicaSets(ctx context.Context, t *testing.T, crowd int) {
	t.Helper()
	sets := s.kube.metadata.Resource(appsv1.SchemeGroupVersion.WithResource("replicasets")).Namespace(s.kube.namespace)
	until(ctx, t, fmt.Sprintf("%d ReplicaSets", crowd), 3*time.Minute, func(ctx context.Context) (bool, string) {
		list, err := sets.List(ctx, metav1.ListOptions{LabelSelector: labelTest})
		if err != nil {
			return false, err.Error()
		}
		return len(list.Items) >= crowd, fmt.Sprint(len(list.Items))
	})
}

// callBesideCrowd calls functions at zero among all those.
func (s *system) callBesideCrowd(ctx context.Context, t *testing.T) {
	t.Helper()
	births := s.watchBirths(ctx, t)
	var extra []float64
	for i := range 5 {
		f := s.deployKnown(ctx, t, function{name: fmt.Sprintf("beside-crowd-%d", i), annotations: annotated()})
		a := s.load.mustDo(ctx, t, call{Method: http.MethodPost, URL: s.sync(f.name, "/work")}, http.StatusOK)
		extra = append(extra, millis(a.End.Sub(a.Start)-births.newest(t, f.name).took()))
	}
	s.figures.add(fmt.Sprintf("cold start, sync, beside %d functions: call minus the pod's own time", crowds[len(crowds)-1]),
		"%.0f ms, median of %d", percentile(extra, 50), len(extra))
}

// knownCrowd is how many of them the gateway knows.
func (s *system) knownCrowd(ctx context.Context) (known int, err error) {
	var all []struct{ Name string }
	err = s.kube.readJSON(ctx, proxied{resource: "services", target: serviceGateway + ":http", path: "/status-functions"}, &all)
	for _, f := range all {
		if strings.HasPrefix(f.Name, crowdName) {
			known++
		}
	}
	return known, err
}

const crowdName = "crowd-"

func inCrowd(i int) string { return fmt.Sprintf("%s%04d", crowdName, i) }

// makeCrowd makes the functions from one number to another.
func (s *system) makeCrowd(ctx context.Context, t *testing.T, from, to int) {
	t.Helper()
	err := parallel(ctx, from, to, func(ctx context.Context, i int) error {
		f := function{name: inCrowd(i), kind: kindDeployment, image: s.settings.functionImage, annotations: annotated(annotationTimeout, "60")}
		return s.kube.create(ctx, f)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// removeCrowd ends them all.
func (s *system) removeCrowd(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := parallel(ctx, 0, crowds[len(crowds)-1], func(ctx context.Context, i int) error {
		return ignoreNotFound(s.kube.remove(ctx, function{name: inCrowd(i), kind: kindDeployment}))
	})
	if err != nil {
		t.Error(err)
	}
}

// parallel does something for each number, some at a time, until one fails.
func parallel(ctx context.Context, from, to int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range makers {
		workers.Go(func() {
			for i := range numbers {
				if err := do(ctx, i); err != nil {
					cancel(fmt.Errorf("number %d: %w", i, err))
				}
			}
		})
	}
	for i := from; i < to && ctx.Err() == nil; i++ {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
	return context.Cause(ctx)
}

// highest is the most memory that a pod of the component took, in bytes, within some seconds.
func (s *system) highest(ctx context.Context, t *testing.T, component string) float64 {
	t.Helper()
	highest := 0.0
	throughout(ctx, t, "memory of "+component, calm/4, func(ctx context.Context) (bool, string) {
		for _, pod := range s.running(ctx, t, component) {
			bytes, err := s.resident(ctx, component, pod)
			if err != nil {
				return false, err.Error()
			}
			highest = max(highest, bytes)
		}
		return true, ""
	})
	return highest
}

// resident is what the process itself says that it takes.
func (s *system) resident(ctx context.Context, component string, pod corev1.Pod) (float64, error) {
	if component == "nats" {
		var varz struct{ Mem float64 }
		err := s.kube.readJSON(ctx, proxied{resource: "pods", target: podTarget(pod.Name, natsMonitor), path: "/varz"}, &varz)
		return varz.Mem, err
	}
	status, body, err := s.kube.send(ctx, proxied{resource: "pods", target: podTarget(pod.Name, opsPort), path: "/metrics"})
	if err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("metrics of %s: %d %w", pod.Name, status, err)
	}
	return metric(body, "process_resident_memory_bytes")
}

// metric finds the value of one without labels in the text format of Prometheus.
func metric(text []byte, name string) (float64, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}
