package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/e2e/cluster"
)

const namespace = metav1.NamespaceDefault

// deployment runs the image, which an HTTP answer on port 8080 tells to be ready.
func deployment(name, image string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	container := corev1.Container{
		Name: "main", Image: image, ImagePullPolicy: corev1.PullNever,
		Ports:          []corev1.ContainerPort{{ContainerPort: 8080}},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: httpGet("/", 8080)}},
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{container}, TerminationGracePeriodSeconds: ptr.To[int64](1)},
			},
		},
	}
}

// deploy makes a Deployment and waits for its pods to exist.
func deploy(t *testing.T, client kubernetes.Interface, d *appsv1.Deployment) {
	t.Helper()
	if _, err := client.AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pods of the Deployment", func(ctx context.Context) error {
		return countPods(ctx, client, d.Name, int(*d.Spec.Replicas))
	})
}

func countPods(ctx context.Context, client kubernetes.Interface, app string, want int) error {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return err
	}
	if len(pods.Items) != want {
		return fmt.Errorf("%d pods, want %d", len(pods.Items), want)
	}
	return nil
}

func TestControllersWorkOnTheControlPlaneAlone(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	deploy(t, c.Client(), deployment("web", "none:1", 3))

	sets, err := c.Client().AppsV1().ReplicaSets(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil || len(sets.Items) != 1 || !metav1.IsControlledBy(&sets.Items[0], get(t, c.Client(), "web")) {
		t.Fatalf("ReplicaSets %+v, error %v: want one that the Deployment owns", sets, err)
	}
	eventually(t, "the scheduler's word on the pods", func(ctx context.Context) error {
		return eachPod(ctx, c.Client(), "web", func(p corev1.Pod) error {
			for _, condition := range p.Status.Conditions {
				if condition.Type == corev1.PodScheduled && condition.Reason == corev1.PodReasonUnschedulable {
					return nil
				}
			}
			return fmt.Errorf("%s is not said to be unschedulable: %+v", p.Name, p.Status.Conditions)
		})
	})
}

func get(t *testing.T, client kubernetes.Interface, name string) *appsv1.Deployment {
	t.Helper()
	d, err := client.AppsV1().Deployments(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func eachPod(ctx context.Context, client kubernetes.Interface, app string, check func(corev1.Pod) error) error {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		if err := check(pod); err != nil {
			return err
		}
	}
	return nil
}

func TestOnlyTheAPIStopsAndItsStateStays(t *testing.T) {
	dir := t.TempDir()
	c := cluster.New(t, cluster.Options{Dir: dir})
	deploy(t, c.Client(), deployment("web", "none:1", 1))
	before := processesOf(t, dir)

	for range 2 { // the second does nothing
		if err := c.StopAPI(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Client().Discovery().ServerVersion(); err == nil {
		t.Fatal("the API server answers after StopAPI")
	}
	checkChanged(t, before, processesOf(t, dir), "kube-apiserver")
	for range 2 {
		if err := c.StartAPI(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := countPods(t.Context(), c.Client(), "web", 1); err != nil {
		t.Fatal(err)
	}
	// As on a real control plane, where they end when they cannot renew their Leases.
	checkChanged(t, before, processesOf(t, dir), "kube-apiserver", "kube-controller-manager", "kube-scheduler")
	// The controllers work.
	if err := c.Client().CoreV1().Pods(namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	deploy(t, c.Client(), deployment("later", "none:1", 2))
}

// checkChanged reports every program that has ended, except those that were to, and every one of those that has not.
func checkChanged(t *testing.T, before, after map[string]int, changed ...string) {
	t.Helper()
	for name, pid := range before {
		if same := after[name] == pid; same == slices.Contains(changed, name) {
			t.Errorf("%s had the process id %d and now has %d: want a change for %v alone", name, pid, after[name], changed)
		}
	}
}

func TestAnotherStartInTheFolderContinues(t *testing.T) {
	dir := t.TempDir()
	first := start(t, cluster.Options{Dir: dir})
	deploy(t, first.Client(), deployment("web", "none:1", 1))
	if _, err := cluster.Start(t.Context(), cluster.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another cluster runs") {
		t.Errorf("a second cluster in a folder in use: error %v, want one that says so", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	cluster.New(t, cluster.Options{Dir: dir})
	// The client of the first run is still good: the same address, and certificates of the same authority.
	if err := countPods(t.Context(), first.Client(), "web", 1); err != nil {
		t.Fatal(err)
	}
}

// start is cluster.New without its end: the test ends the cluster.
func start(t *testing.T, options cluster.Options) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), options)
	if errors.Is(err, cluster.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNothingOutlivesTheSupervisor(t *testing.T) {
	for name, end := range map[string]func(c *cluster.Cluster, pids map[string]int) error{
		"its input is closed": func(c *cluster.Cluster, _ map[string]int) error { return c.Close() },
		"it is killed": func(_ *cluster.Cluster, pids map[string]int) error {
			return syscall.Kill(pids["control-plane"], syscall.SIGKILL)
		},
		"SIGTERM": func(_ *cluster.Cluster, pids map[string]int) error {
			return syscall.Kill(pids["control-plane"], syscall.SIGTERM)
		},
		"a component dies": func(_ *cluster.Cluster, pids map[string]int) error {
			return syscall.Kill(pids["etcd"], syscall.SIGKILL)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := start(t, cluster.Options{Dir: dir})
			pids := processesOf(t, dir)
			if want := []string{"control-plane", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}; !slices.Equal(keys(pids), want) {
				t.Errorf("processes %v, want %v", keys(pids), want)
			}
			if err := end(c, pids); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end of all processes", func(context.Context) error {
				if left := processesOf(t, dir); len(left) > 0 {
					return fmt.Errorf("%v are left", left)
				}
				return nil
			})
			err := c.Close()
			if name == "a component dies" && (err == nil || !strings.Contains(err.Error(), "etcd ended: signal: killed")) {
				t.Errorf("error %v, want one that says that etcd was killed", err)
			}
		})
	}
}

func TestAClusterNamedByKUBECONFIG(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	if _, named, err := cluster.FromEnv(); named || err != nil {
		t.Fatalf("no KUBECONFIG: named %v, error %v", named, err)
	}
	ours := cluster.New(t, cluster.Options{})
	t.Setenv("KUBECONFIG", ours.Kubeconfig())
	c, named, err := cluster.FromEnv()
	if err != nil || !named {
		t.Fatalf("named %v, error %v", named, err)
	}
	if _, err := c.Client().CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	for name, command := range map[string]func() error{
		"StopAPI":  func() error { return c.StopAPI(t.Context()) },
		"StartAPI": func() error { return c.StartAPI(t.Context()) },
		"Load":     func() error { return c.Load(t.Context(), "x.tar") },
	} {
		if err := command(); !errors.Is(err, cluster.ErrNotOurs) {
			t.Errorf("%s: error %v, want ErrNotOurs", name, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := ours.Client().Discovery().ServerVersion(); err != nil {
		t.Errorf("Close has ended a cluster that it had not started: %v", err)
	}
}

// The administrator may do everything; whoever has no certificate may not.
func TestTheAPIAsksWhoCalls(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	config := c.RESTConfig()
	config.CertData, config.KeyData = nil, nil
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("pods for everyone: error %v, want Forbidden", err)
	}
	if _, err := clientcmd.LoadFromFile(c.Kubeconfig()); err != nil {
		t.Error(err)
	}
}
