package kubetest

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/ptr"
)

// Node is the name of the one Node of a control plane.
const Node = "node-1"

// startNode registers the Node that pods are bound to, and lets it send signs of life.
func (p *Plane) startNode() error {
	admin, release, err := p.admin()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: Node, Labels: map[string]string{"test": "yes"}}}
	if _, err := admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	kubelet := httptest.NewTLSServer(http.HandlerFunc(p.askKubelet))
	port := kubelet.Listener.Addr().(*net.TCPAddr).Port
	if err := beat(ctx, admin, port); err != nil {
		kubelet.Close()
		return err
	}
	p.beats.Go(func() {
		defer release()
		defer kubelet.Close()
		ticker := time.NewTicker(5 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = beat(ctx, admin, port) // while the API server is away, the next one will do
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

// beat writes the Node's status: it has room for everything, and its kubelet answers on the port.
func beat(ctx context.Context, admin *kubernetes.Clientset, port int) error {
	room := corev1.ResourceList{"cpu": resource.MustParse("1000"), "memory": resource.MustParse("1Ti"), "pods": resource.MustParse("10000")}
	status := corev1.NodeStatus{
		Capacity: room, Allocatable: room,
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), Reason: "Test", Message: "played by a test",
		}},
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}},
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = admin.CoreV1().Nodes().Patch(ctx, Node, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// ServeKubelet lets handler answer what the API server asks the Node's kubelet about pods of the namespace, such as /containerLogs/{namespace}/{pod}/{container}, until the test ends.
func (p *Plane) ServeKubelet(t testing.TB, namespace string, handler http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kubelets == nil {
		p.kubelets = map[string]http.Handler{}
	}
	p.kubelets[namespace] = handler
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.kubelets, namespace)
	})
}

func (p *Plane) askKubelet(w http.ResponseWriter, r *http.Request) {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	namespace, _, _ := strings.Cut(path, "/")
	p.mu.Lock()
	handler := p.kubelets[namespace]
	p.mu.Unlock()
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	handler.ServeHTTP(w, r)
}

// FollowPods tells see of each pod, and of each change of one, from one goroutine, until the test ends; anew whenever the API server has gone away. A test plays the
// node's kubelet with it: it writes the status of pods, and finishes their deletion.
func FollowPods(t testing.TB, pods corev1client.PodInterface, see func(ctx context.Context, change watch.EventType, pod *corev1.Pod)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			events, err := pods.Watch(ctx, metav1.ListOptions{
				SendInitialEvents: ptr.To(true), AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
			})
			if err == nil {
				seeAll(ctx, events, see)
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
}

func seeAll(ctx context.Context, events watch.Interface, see func(ctx context.Context, change watch.EventType, pod *corev1.Pod)) {
	defer events.Stop()
	for event := range events.ResultChan() {
		if pod, is := event.Object.(*corev1.Pod); is && event.Type != watch.Error && event.Type != watch.Bookmark {
			see(ctx, event.Type, pod)
		}
	}
}
