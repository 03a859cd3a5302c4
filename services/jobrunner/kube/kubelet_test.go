package kube

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
	"github.com/sluicefaas/sluice/services/jobrunner/jobrunnertest"
)

// manual is an annotation of pods that the played kubelet leaves alone: the test writes their status.
const manual = "test/manual"

// kubelet plays the node for one namespace: it runs what pods are to do in goroutines, writes their status, answers with their output, and finishes their deletion. Everything
// else is done by the real controllers.
type kubelet struct {
	n       *namespace
	ctx     context.Context
	running sync.WaitGroup
	mu      sync.Mutex
	pods    map[types.UID]*program // guarded by mu
}

// program is a pod that runs.
type program struct {
	name   string
	cancel context.CancelFunc
	mu     sync.Mutex
	out    bytes.Buffer  // guarded by mu
	ended  bool          // guarded by mu
	more   chan struct{} // guarded by mu: closed and replaced when there is more
}

// runKubelet plays until the test ends.
func runKubelet(n *namespace) {
	ctx, cancel := context.WithCancel(context.Background())
	k := &kubelet{n: n, ctx: ctx, pods: map[types.UID]*program{}}
	n.t.Cleanup(func() { cancel(); k.running.Wait() })
	n.Plane.ServeKubelet(n.t, n.Name, k)
	kubetest.FollowPods(n.t, n.Admin.CoreV1().Pods(n.Name), k.see)
}

func (k *kubelet) see(ctx context.Context, change watch.EventType, pod *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.pods[pod.UID]
	switch {
	case change == watch.Deleted:
		if p != nil {
			p.cancel()
			delete(k.pods, pod.UID)
		}
	case pod.Spec.NodeName != kubetest.Node:
	case pod.DeletionTimestamp != nil:
		if p != nil {
			p.cancel()
		}
		k.finish(ctx, pod)
	case p == nil && pod.Annotations[manual] == "" && pod.Status.Phase == corev1.PodPending:
		ctx, cancel := context.WithCancel(k.ctx)
		p = &program{name: pod.Name, cancel: cancel, more: make(chan struct{})}
		k.pods[pod.UID] = p
		k.running.Go(func() { k.run(ctx, p, pod.DeepCopy()) })
	}
}

// run is the life of a pod.
func (k *kubelet) run(ctx context.Context, p *program, pod *corev1.Pod) {
	defer p.cancel()
	began := metav1.Now()
	k.write(ctx, pod, func(pod *corev1.Pod) {
		pod.Status.Phase, pod.Status.StartTime = corev1.PodRunning, &began
		setReady(pod, corev1.ConditionTrue)
		setContainers(pod, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}})
	})
	code := jobrunnertest.Program(ctx, pod.Spec.Containers[0].Args, p)
	p.end()
	phase, reason := corev1.PodSucceeded, "Completed"
	if code != 0 {
		phase, reason = corev1.PodFailed, "Error"
	}
	k.write(ctx, pod, func(pod *corev1.Pod) {
		pod.Status.Phase = phase
		setReady(pod, corev1.ConditionFalse)
		setContainers(pod, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: int32(code), Reason: reason, StartedAt: began, FinishedAt: metav1.Now(), Message: fmt.Sprintf("the last words of %d", code),
		}})
	})
}

// write changes the status of a pod until that has worked or the pod is gone.
func (k *kubelet) write(ctx context.Context, pod *corev1.Pod, change func(*corev1.Pod)) {
	for ctx.Err() == nil {
		now, err := k.n.Admin.CoreV1().Pods(k.n.Name).Get(ctx, pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return
		}
		if err == nil {
			change(now)
			if _, err = k.n.Admin.CoreV1().Pods(k.n.Name).UpdateStatus(ctx, now, metav1.UpdateOptions{}); err == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// setReady sets the condition as a kubelet does.
func setReady(pod *corev1.Pod, status corev1.ConditionStatus) {
	pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.Now()})
}

// setContainers gives all containers the state.
func setContainers(pod *corev1.Pod, state corev1.ContainerState) {
	pod.Status.ContainerStatuses = nil
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, State: state, Ready: state.Running != nil, Started: ptr.To(state.Running != nil),
		})
	}
}

// finish ends a pod that is being deleted.
func (k *kubelet) finish(ctx context.Context, pod *corev1.Pod) {
	err := k.n.Admin.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
		k.n.t.Logf("finish the deletion of pod %s: %v", pod.Name, err)
	}
}

// Write implements io.Writer: it is the program's output.
func (p *program) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Write(text)
	close(p.more)
	p.more = make(chan struct{})
	return len(text), nil
}

func (p *program) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	close(p.more)
	p.more = make(chan struct{})
}

// from is the output after that many bytes.
func (p *program) from(offset int) (text []byte, ended bool, more <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.out.Bytes()[offset:]), p.ended, p.more
}

// ServeHTTP implements http.Handler: it answers as a kubelet's /containerLogs.
func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var p *program
	k.mu.Lock()
	for _, candidate := range k.pods {
		if strings.Contains(r.URL.Path, "/"+candidate.name+"/") {
			p = candidate
		}
	}
	k.mu.Unlock()
	if p == nil {
		http.Error(w, "container is waiting to start: ContainerCreating", http.StatusBadRequest)
		return
	}
	offset := 0
	if text, _, _ := p.from(0); r.FormValue("tailLines") != "" {
		lines := slices.Collect(bytes.Lines(text))
		keep, _ := strconv.Atoi(r.FormValue("tailLines"))
		offset = len(bytes.Join(lines[:max(0, len(lines)-keep)], nil))
	}
	for {
		text, ended, more := p.from(offset)
		offset += len(text)
		_, _ = w.Write(text)
		w.(http.Flusher).Flush()
		if ended || r.FormValue("follow") != "true" {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
	}
}
