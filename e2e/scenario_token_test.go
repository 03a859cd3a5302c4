package e2e

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// tokensOnlyWhereUsed looks into the specification of each pod of Sluice, and on a node of our own into its processes: only the scaler and the jobrunner
// have a token, and nobody has a variable of a service link (row 6).
func (s *system) tokensOnlyWhereUsed(ctx context.Context, t *testing.T) {
	for component := range replicasOf {
		for _, pod := range s.running(ctx, t, component) {
			want := component == "scaler" || component == "jobrunner"
			if got := mountsToken(pod); got != want {
				t.Errorf("%s: the specification mounts a token: %v, want %v", pod.Name, got, want)
			}
			if s.node != nil {
				lookInside(t, pod, want)
			}
		}
	}
}

func mountsToken(pod corev1.Pod) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ServiceAccountToken != nil {
				return true
			}
		}
	}
	return false
}

// lookInside reads what the pod's process itself can read.
func lookInside(t *testing.T, pod corev1.Pod, want bool) {
	t.Helper()
	pids, err := processes(pod)
	if err != nil {
		t.Fatal(err)
	}
	of := "/proc/" + strconv.Itoa(pids[0])
	token, err := os.ReadFile(of + "/root/var/run/secrets/kubernetes.io/serviceaccount/token")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if got := len(token) > 0; got != want {
		t.Errorf("%s: the process has a token: %v, want %v", pod.Name, got, want)
	}
	environment, err := os.ReadFile(of + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	for variable := range strings.SplitSeq(string(environment), "\x00") {
		if strings.Contains(variable, "=tcp://") && !strings.HasPrefix(variable, "KUBERNETES_") {
			t.Errorf("%s: the process has the variable of a service link: %s", pod.Name, variable)
		}
	}
}
