package kube

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
)

// manual is an annotation of pods that the played kubelet leaves alone: the test writes their status. slowEnd keeps a pod that was
// deleted until the kubelet is told to end it.
const (
	manual  = "test/manual"
	slowEnd = "test/slow-end"
)

// kubelet plays the node for one namespace: it gives each pod that is bound to the node an address of the loopback network with
// a listener behind it, writes its status, and finishes its deletion. Everything else is done by the real controllers.
type kubelet struct {
	namespace *namespace
	mu        sync.Mutex
	listeners map[types.UID]net.Listener // guarded by mu
}

// runKubelet plays until the test ends.
func runKubelet(n *namespace) *kubelet {
	k := &kubelet{namespace: n, listeners: map[types.UID]net.Listener{}}
	n.T.Cleanup(func() {
		for uid := range k.listeners {
			k.close(uid)
		}
	})
	kubetest.FollowPods(n.T, n.Admin.CoreV1().Pods(n.Name), k.see)
	return k
}

func (k *kubelet) see(ctx context.Context, change watch.EventType, pod *corev1.Pod) {
	if change == watch.Deleted {
		k.close(pod.UID)
		return
	}
	k.sync(ctx, pod)
}

// sync does for a pod what is next.
func (k *kubelet) sync(ctx context.Context, pod *corev1.Pod) {
	switch {
	case pod.Spec.NodeName != kubetest.Node:
	case pod.DeletionTimestamp != nil:
		if pod.Annotations[slowEnd] == "" {
			k.finish(ctx, pod)
		}
	case pod.Annotations[manual] == "" && pod.Status.PodIP == "":
		k.start(ctx, pod)
	}
}

// start lets the pod serve.
func (k *kubelet) start(ctx context.Context, pod *corev1.Pod) {
	ip, err := k.listen(pod)
	if err != nil {
		k.namespace.T.Errorf("listen for pod %s: %v", pod.Name, err)
		return
	}
	pod = pod.DeepCopy()
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	setReady(pod, corev1.ConditionTrue)
	_, err = k.namespace.Admin.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	if err != nil {
		k.close(pod.UID) // an event with the newer version is on its way
	}
}

// setReady sets the condition as a kubelet does.
func setReady(pod *corev1.Pod, status corev1.ConditionStatus) {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodReady {
			pod.Status.Conditions[i].Status, pod.Status.Conditions[i].LastTransitionTime = status, metav1.Now()
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.Now()})
}

func (k *kubelet) listen(pod *corev1.Pod) (ip string, err error) {
	port := int(pod.Spec.Containers[0].Ports[0].ContainerPort)
	for range 20 {
		ip = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(255), 1+rand.IntN(254))
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port))); err == nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.listeners[pod.UID] = listener
			return ip, nil
		}
	}
	return "", err
}

func (k *kubelet) close(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if listener := k.listeners[uid]; listener != nil {
		_ = listener.Close()
		delete(k.listeners, uid)
	}
}

// finish ends a pod that is being deleted.
func (k *kubelet) finish(ctx context.Context, pod *corev1.Pod) {
	k.close(pod.UID)
	err := k.namespace.Admin.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
		k.namespace.T.Logf("finish the deletion of pod %s: %v", pod.Name, err)
	}
}
