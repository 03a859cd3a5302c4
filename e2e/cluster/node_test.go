package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/sluicefaas/sluice/e2e/cluster"
)

func httpGet(path string, port int) *corev1.HTTPGetAction {
	return &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt(port)}
}

// startNode starts a node with the probe's image and notes what the machine was like before.
func startNode(t *testing.T) (c *cluster.Cluster, dir string, before []string) {
	t.Helper()
	if err := cluster.Available(cluster.Options{Node: true}); err != nil {
		t.Skip(err)
	}
	image := buildProbe(t)
	dir = t.TempDir()
	eventually(t, "the end of another node on this machine", func(context.Context) error {
		if _, err := os.Stat("/run/sluice-kube"); err == nil {
			return errors.New("/run/sluice-kube is there")
		}
		return nil
	})
	before = snapshot(t)
	c = start(t, cluster.Options{Node: true, Dir: dir})
	t.Cleanup(func() { _ = c.Close() }) // a test that got so far has looked at the error
	if err := c.Load(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	return c, dir, before
}

func TestPodsRunAndServeOnTheNode(t *testing.T) {
	c, _, before := startNode(t)
	client := c.Client()
	deploy(t, client, deployment("probe", probeImage, 2))
	address := serve(t, client, "probe")
	pods := awaitReady(t, client, "probe", 2)

	for _, pod := range pods {
		expect(t, "http://"+pod.Status.PodIP+":8080/", pod.Name)
	}
	expect(t, "http://"+address+"/", "probe-")
	inside := "http://" + pods[0].Status.PodIP + ":8080"
	expect(t, inside+"/resolve?name=probe", address)
	expect(t, inside+"/resolve?name=kubernetes.default.svc.cluster.local", "10.96.0.1")
	// Each of the Service's pods, the caller's own too, answers through its address.
	for range 20 {
		expect(t, inside+"/get?url="+url.QueryEscape("http://probe/"), "probe-")
	}
	expect(t, inside+"/get?url="+url.QueryEscape("https://kubernetes.default.svc/version"), "v1.34.10")
	logs, err := client.CoreV1().Pods(namespace).GetLogs(pods[0].Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil || !strings.Contains(string(logs), "listening") {
		t.Errorf("logs %q, error %v, want what the probe prints", logs, err)
	}

	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	checkSame(t, before, snapshot(t))
}

func TestPodsServeWhileTheAPIIsStopped(t *testing.T) {
	c, _, _ := startNode(t)
	deploy(t, c.Client(), deployment("probe", probeImage, 1))
	address := serve(t, c.Client(), "probe")
	awaitReady(t, c.Client(), "probe", 1)
	if err := c.StopAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, "http://"+address+"/", "probe-")
	if err := c.StartAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	scale, err := c.Client().AppsV1().Deployments(namespace).GetScale(t.Context(), "probe", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale.Spec.Replicas = 2
	if _, err := c.Client().AppsV1().Deployments(namespace).UpdateScale(t.Context(), "probe", scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, c.Client(), "probe", 2)
}

func TestAKilledNodeIsCleanedUpAndStartsAgain(t *testing.T) {
	c, dir, before := startNode(t)
	deploy(t, c.Client(), deployment("probe", probeImage, 2))
	awaitReady(t, c.Client(), "probe", 2)
	if err := syscall.Kill(processesOf(t, dir)["node"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the machine's state from before", func(context.Context) error {
		if now := snapshot(t); len(now) != len(before) {
			return fmt.Errorf("%d lines, before %d", len(now), len(before))
		}
		return nil
	})
	checkSame(t, before, snapshot(t))

	again := start(t, cluster.Options{Node: true, Dir: dir})
	t.Cleanup(func() { _ = again.Close() })
	awaitReady(t, again.Client(), "probe", 2)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	checkSame(t, before, snapshot(t))
}

// serve makes a Service for the pods of the app and returns its address.
func serve(t *testing.T, client kubernetes.Interface, app string) string {
	t.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": app},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt(8080)}},
		},
	}
	made, err := client.CoreV1().Services(namespace).Create(t.Context(), service, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Spec.ClusterIP
}

// awaitReady waits for so many pods of this moment that are ready. A container that runs only according to an old status has no
// answer at its address.
func awaitReady(t *testing.T, client kubernetes.Interface, app string, want int) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	eventually(t, fmt.Sprintf("%d ready pods", want), func(ctx context.Context) error {
		pods = nil
		return eachReady(ctx, client, app, want, &pods)
	})
	return pods
}

func eachReady(ctx context.Context, client kubernetes.Interface, app string, want int, pods *[]corev1.Pod) error {
	err := eachPod(ctx, client, app, func(p corev1.Pod) error {
		for _, condition := range p.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status != corev1.ConditionTrue {
				return fmt.Errorf("%s: %s %s", p.Name, condition.Reason, condition.Message)
			}
		}
		if p.Status.PodIP == "" {
			return fmt.Errorf("%s has no address", p.Name)
		}
		if text, err := fetch(ctx, "http://"+p.Status.PodIP+":8080/"); err != nil || strings.TrimSpace(text) != p.Name {
			return fmt.Errorf("%s answers %q, error %w", p.Name, text, err)
		}
		*pods = append(*pods, p)
		return nil
	})
	if err == nil && len(*pods) != want {
		err = fmt.Errorf("%d pods are ready, want %d", len(*pods), want)
	}
	return err
}

// expect waits until the answer contains the text: kube-proxy needs a moment for a new pod.
func expect(t *testing.T, address, text string) {
	t.Helper()
	eventually(t, text+" from "+address, func(ctx context.Context) error {
		answer, err := fetch(ctx, address)
		if err != nil {
			return err
		}
		if !strings.Contains(answer, text) {
			return fmt.Errorf("the answer is %q", answer)
		}
		return nil
	})
}

func fetch(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	return string(text), err
}
