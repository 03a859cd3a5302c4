package services_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// thinCluster is the whole system on one machine, without root: the services as processes, NATS, a real API server with its
// controllers, and pods that the test plays.
type thinCluster struct {
	t                   *testing.T
	admin               *kubernetes.Clientset
	namespace           string
	kubelet             *kubelet
	nats                *bustest.Server
	gateway, dispatcher *process
	scalers             map[string]*process // by their names in the Lease
}

// startCluster starts everything and waits until it is ready. Its function f sleeps after idleSeconds; each of scalers is a name.
func startCluster(t *testing.T, idleSeconds string, scalers ...string) *thinCluster {
	t.Helper()
	c := newThinCluster(t)
	c.deploy("f", idleSeconds)
	c.startServices(scalers...)
	for _, p := range c.services() {
		p.readiness(http.StatusOK)
	}
	c.waitKnown("f")
	return c
}

// newThinCluster makes the namespace and starts NATS.
func newThinCluster(t *testing.T) *thinCluster {
	t.Helper()
	plane.Start(t)
	c := &thinCluster{t: t, admin: plane.Admin(t), scalers: map[string]*process{}}
	made, err := c.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "thin-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.namespace = made.Name
	t.Cleanup(c.remove)
	c.kubelet = runKubelet(t, c.admin.CoreV1().Pods(c.namespace))
	c.nats = bustest.Start(t)
	return c
}

func (c *thinCluster) startServices(scalers ...string) {
	c.t.Helper()
	for _, name := range scalers {
		c.scalers[name] = start(c.t, "scaler", c.nats.URL(), "--kubeconfig="+plane.Kubeconfig(), "--namespace="+c.namespace, "--lease-identity="+name)
	}
	c.dispatcher, c.gateway = start(c.t, "dispatcher", c.nats.URL()), start(c.t, "gateway", c.nats.URL(), "--start-wait=10m")
}

func (c *thinCluster) services() []*process {
	return append(slices.Collect(maps.Values(c.scalers)), c.dispatcher, c.gateway)
}

func (c *thinCluster) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if events, err := c.admin.CoreV1().Events(c.namespace).List(ctx, metav1.ListOptions{}); err == nil && c.t.Failed() {
		for _, e := range events.Items {
			c.t.Logf("event of %s at %s: %s", e.InvolvedObject.Name, e.LastTimestamp, e.Message)
		}
	}
	if err := c.admin.CoreV1().Namespaces().Delete(ctx, c.namespace, metav1.DeleteOptions{}); err != nil {
		c.t.Error(err)
	}
}

// stopAPI stops the API server; the test starts it again, or its end does.
func (c *thinCluster) stopAPI() (startAgain func()) {
	c.t.Helper()
	startAgain = sync.OnceFunc(func() { plane.Command(c.t, "start-api") })
	plane.Command(c.t, "stop-api")
	c.t.Cleanup(startAgain)
	return startAgain
}

// deploy makes a function that is at zero.
func (c *thinCluster) deploy(name, idleSeconds string) {
	c.t.Helper()
	labels := map[string]string{"app": name}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			"sluice/Function": "true", "sluice/TimeoutSecondBeforeSetReplicasMin": idleSeconds,
		}},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](0), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				SchedulerName: "none", // the test plays the node
				Containers:    []corev1.Container{{Name: "f", Image: "f", Ports: []corev1.ContainerPort{{ContainerPort: 18080}}}},
			}},
		},
	}
	if _, err := c.admin.AppsV1().Deployments(c.namespace).Create(c.t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// waitKnown waits until the gateway has heard of the function.
func (c *thinCluster) waitKnown(name string) {
	c.t.Helper()
	eventually(c.t, "the gateway knows "+name, func() bool { return c.get("/status-function/"+name).status == http.StatusOK })
}

func (c *thinCluster) get(path string) answer {
	return send(c.t, http.MethodGet, "http://"+c.gateway.api+path, "")
}

// call makes a sync call that must succeed, and returns how long it took.
func (c *thinCluster) call(name string) time.Duration {
	c.t.Helper()
	begun := time.Now()
	if got := c.get("/function/" + name); got.status != http.StatusOK || !strings.HasPrefix(got.body, "hello from 127.") {
		c.t.Errorf("call of %s: %d %s", name, got.status, got.body)
	}
	return time.Since(begun)
}

// waitAsked waits until the Deployment is asked for count replicas.
func (c *thinCluster) waitAsked(name string, count int32) {
	c.t.Helper()
	eventually(c.t, "the count of "+name+" is set", func() bool {
		deployment, err := c.admin.AppsV1().Deployments(c.namespace).Get(c.t.Context(), name, metav1.GetOptions{})
		return err == nil && *deployment.Spec.Replicas == count
	})
}

// waitZero waits until no pod is left.
func (c *thinCluster) waitZero() {
	c.t.Helper()
	eventually(c.t, "the functions are at zero", func() bool {
		return c.kubelet.count() == 0 && strings.Contains(c.get("/status-function/f").body, `"NumberReady":0,"NumberRequested":0`)
	})
}

// leader is who holds the Lease, empty if nobody does.
func (c *thinCluster) leader() string {
	lease, err := c.admin.CoordinationV1().Leases(c.namespace).Get(c.t.Context(), "sluice-scaler", metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// waitLeader waits for another leader than the given one.
func (c *thinCluster) waitLeader(except string) (name string) {
	c.t.Helper()
	eventually(c.t, "a scaler leads", func() bool { name = c.leader(); return name != "" && name != except })
	return name
}
