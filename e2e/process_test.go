package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// processes are the pids of the pod's containers, as this machine sees them: a container's id stands in the path of its control group.
func processes(pod corev1.Pod) ([]int, error) {
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, group := range groups {
		text, err := os.ReadFile(group)
		if err != nil || !inPod(string(text), pod) {
			continue // a process that has ended meanwhile, or another's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(group)))
		if err != nil {
			return nil, fmt.Errorf("read a pid: %w", err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("no process of pod %s on this machine", pod.Name)
	}
	return pids, nil
}

func inPod(groups string, pod corev1.Pod) bool {
	for _, status := range pod.Status.ContainerStatuses {
		_, id, found := strings.Cut(status.ContainerID, "://")
		if found && id != "" && strings.Contains(groups, id) {
			return true
		}
	}
	return false
}

// kill ends the pods' processes as `kill -9` does, at once; their containers start again. On a cluster whose processes are out of reach it
// removes the pods without grace.
func (s *system) kill(ctx context.Context, t *testing.T, pods ...corev1.Pod) {
	t.Helper()
	for _, pod := range pods {
		if err := s.killPod(ctx, pod); err != nil {
			t.Fatalf("kill %s: %v", pod.Name, err)
		}
	}
}

func (s *system) killPod(ctx context.Context, pod corev1.Pod) error {
	if s.node == nil {
		now := int64(0)
		return s.kube.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	}
	pids, err := processes(pod)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// restarted reports whether the pod's container is another one now, or the pod gone.
func (s *system) restarted(ctx context.Context, pod corev1.Pod) (bool, error) {
	now, err := s.kube.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return notFound(err), ignoreNotFound(err)
	}
	return now.UID != pod.UID || restarts(*now) > restarts(pod), nil
}

func restarts(pod corev1.Pod) int32 {
	sum := int32(0)
	for _, status := range pod.Status.ContainerStatuses {
		sum += status.RestartCount
	}
	return sum
}

// awaitRecovery waits until the killed pods have started again or been replaced, and the component has all its pods ready.
func (s *system) awaitRecovery(ctx context.Context, t *testing.T, component string, killed ...corev1.Pod) {
	t.Helper()
	until(ctx, t, component+" complete again", 2*time.Minute, func(ctx context.Context) (bool, string) {
		for _, pod := range killed {
			if again, err := s.restarted(ctx, pod); err != nil || !again {
				return false, fmt.Sprintf("%s has not started again %v", pod.Name, err)
			}
		}
		pods, err := s.component(ctx, component)
		if err != nil {
			return false, err.Error()
		}
		ready := 0
		for _, pod := range pods {
			if isReady(pod) && pod.DeletionTimestamp == nil {
				ready++
			}
		}
		return ready == replicasOf[component], fmt.Sprint(names(pods))
	})
}
