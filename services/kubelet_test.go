package services_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
)

// kubelet plays the node for the pods of one namespace: each gets a replica on an address of the loopback network, and becomes
// ready. (They name a scheduler that does not exist, so nobody binds them and the API server deletes them at once.)
type kubelet struct {
	t    *testing.T
	pods corev1client.PodInterface

	mu       sync.Mutex
	replicas map[types.UID]*replica // of the pods that exist; guarded by mu
	// gone has how often each queued call ended on pods that are gone; guarded by mu.
	gone map[string]int
}

// runKubelet plays until the test ends.
func runKubelet(t *testing.T, pods corev1client.PodInterface) *kubelet {
	k := &kubelet{t: t, pods: pods, replicas: map[types.UID]*replica{}, gone: map[string]int{}}
	t.Cleanup(func() {
		for _, r := range k.replicas {
			r.stop()
		}
	})
	kubetest.FollowPods(t, pods, k.see)
	return k
}

func (k *kubelet) see(ctx context.Context, change watch.EventType, pod *corev1.Pod) {
	switch {
	case change == watch.Deleted:
		k.end(pod.UID)
	case pod.DeletionTimestamp == nil && pod.Status.PodIP == "":
		if err := k.start(ctx, pod.DeepCopy()); err != nil && ctx.Err() == nil {
			k.t.Logf("start pod %s: %v", pod.Name, err) // a newer version of it is on its way
		}
	}
}

// start lets the pod serve and makes it ready.
func (k *kubelet) start(ctx context.Context, pod *corev1.Pod) error {
	r, err := k.serve(pod)
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(r.address)
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, host, []corev1.PodIP{{IP: host}}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()})
	if _, err := k.pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		k.end(pod.UID)
		return err
	}
	return nil
}

func (k *kubelet) serve(pod *corev1.Pod) (*replica, error) {
	port := strconv.Itoa(int(pod.Spec.Containers[0].Ports[0].ContainerPort))
	ip := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(255), 1+rand.IntN(254))
	r, err := newReplica(net.JoinHostPort(ip, port))
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.replicas[pod.UID] = r
	return r, nil
}

// end cuts the pod's connections.
func (k *kubelet) end(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.replicas[uid]
	if r == nil {
		return
	}
	r.stop()
	delete(k.replicas, uid)
	_, ended := r.calls()
	addCounts(k.gone, ended)
}

// ended is how often each queued call has ended, on all pods.
func (k *kubelet) ended() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	sum := maps.Clone(k.gone)
	for _, r := range k.replicas {
		_, ended := r.calls()
		addCounts(sum, ended)
	}
	return sum
}

func addCounts(sum, more map[string]int) {
	for id, n := range more {
		sum[id] += n
	}
}

// pods that exist.
func (k *kubelet) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.replicas)
}
