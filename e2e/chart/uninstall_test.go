package chart

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/ptr"
)

const secretName = "sluice-nats-users"

// Install makes the passwords once, with the hook's own program and account; an upgrade leaves them; uninstall leaves nothing, whatever
// Kubernetes has made meanwhile of what the chart has.
func TestUninstallLeavesNothing(t *testing.T) {
	p, scaler := plane(t), build(t, "scaler")
	space := p.namespace(t, "whole")
	before := p.everything(t)
	kubelet := p.runHooks(t, space, scaler)

	p.mustHelm(t, space, "install", release, chartFolder())
	first := p.secret(t, space)
	requirePasswords(t, first)
	p.requireHooksGone(t, space)
	p.awaitClaims(t, space, 3)

	p.mustHelm(t, space, "upgrade", release, chartFolder(), "--set", "log.level=debug")
	if second := p.secret(t, space); second.UID != first.UID || second.ResourceVersion != first.ResourceVersion {
		t.Error("the upgrade has changed the passwords")
	}
	if runs := kubelet(); runs != 2 {
		t.Errorf("the hook has run %d times", runs)
	}

	p.mustHelm(t, space, "uninstall", release)
	p.requireNothingNew(t, before)
}

// Helm removes the passwords although a Job has made them; volumes stay when a value says so.
func TestUninstallKeepsTheVolumesIfToldTo(t *testing.T) {
	p, scaler := plane(t), build(t, "scaler")
	space := p.namespace(t, "keep")
	before := p.everything(t)
	p.runHooks(t, space, scaler)
	p.mustHelm(t, space, "install", release, chartFolder(), "--set", "nats.persistence.keep=true")
	p.awaitClaims(t, space, 3)
	p.mustHelm(t, space, "uninstall", release)
	want := []string{"data-sluice-nats-0", "data-sluice-nats-1", "data-sluice-nats-2"}
	until(t, "only the claims are left", func(context.Context) (bool, string) {
		left := p.added(t, before)
		for i, line := range left {
			left[i] = line[strings.LastIndex(line, " ")+1:]
		}
		return slices.Equal(left, want), fmt.Sprint(left)
	})
}

// A hook that fails ends the install with a reason, and nothing of it but its Job, which removes itself, outlives an uninstall.
func TestFailedHook(t *testing.T) {
	p := plane(t)
	space := p.namespace(t, "failed")
	before := p.everything(t)
	out, err := p.helm(t, "install", release, chartFolder(), "--namespace", space, "--timeout", "3s")
	if err == nil {
		t.Fatalf("helm has installed without the passwords: %s", out)
	}
	if !strings.Contains(err.Error(), "pre-install") {
		t.Error(err)
	}
	p.mustHelm(t, space, "uninstall", release)
	until(t, "only the Job and its pod are left", func(context.Context) (bool, string) {
		left := p.added(t, before)
		return len(left) == 2 && strings.Contains(left[0], "pods sluice-credentials-") && strings.Contains(left[1], "batch jobs"), fmt.Sprint(left)
	})
	job, err := p.BatchV1().Jobs(space).Get(t.Context(), "sluice-credentials", metav1.GetOptions{})
	if err != nil || ptr.Deref(job.Spec.TTLSecondsAfterFinished, 0) == 0 || ptr.Deref(job.Spec.ActiveDeadlineSeconds, 0) == 0 {
		t.Errorf("the Job stays for ever: %v %+v", err, job.Spec)
	}
}

func (p *controlPlane) mustHelm(t *testing.T, space string, args ...string) {
	t.Helper()
	if _, err := p.helm(t, append(args, "--namespace", space, "--timeout", "2m")...); err != nil {
		t.Fatal(err)
	}
}

// runHooks plays the kubelet for the hook's pods: it runs their program with their arguments and their account's token, and reports how
// it has ended. The function that it returns ends it, and says how many have run.
func (p *controlPlane) runHooks(t *testing.T, space, program string) (end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := map[types.UID]bool{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			pods, err := p.CoreV1().Pods(space).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=credentials"})
			if err == nil {
				for _, pod := range pods.Items {
					if !ran[pod.UID] {
						ran[pod.UID] = true
						p.finish(ctx, t, pod, p.runPod(ctx, t, pod, program))
					}
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(pollPause):
			}
		}
	}()
	stop := func() int {
		cancel()
		<-done
		return len(ran)
	}
	t.Cleanup(func() { stop() })
	return stop
}

// runPod runs the program as the pod's container would.
func (p *controlPlane) runPod(ctx context.Context, t *testing.T, pod corev1.Pod, program string) error {
	file, err := p.accessOf(ctx, pod.Namespace, pod.Spec.ServiceAccountName, filepath.Join(t.TempDir(), "kubeconfig"))
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, program, append(pod.Spec.Containers[0].Args, "--kubeconfig="+file)...)
	command.Env = os.Environ()
	said, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// finish reports the pod's end.
func (p *controlPlane) finish(ctx context.Context, t *testing.T, pod corev1.Pod, failure error) {
	phase := corev1.PodSucceeded
	if failure != nil {
		t.Errorf("pod %s: %v", pod.Name, failure)
		phase = corev1.PodFailed
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"phase": phase}})
	if err == nil {
		_, err = p.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil && ctx.Err() == nil {
		t.Errorf("report the end of pod %s: %v", pod.Name, err)
	}
}

func (p *controlPlane) secret(t *testing.T, space string) *corev1.Secret {
	t.Helper()
	secret, err := p.CoreV1().Secrets(space).Get(t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// A password is read by nats-server as a value of its configuration: it must not look like a number.
var password = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{23,}$`)

func requirePasswords(t *testing.T, secret *corev1.Secret) {
	t.Helper()
	users := slices.Sorted(maps.Keys(secret.Data))
	if !slices.Equal(users, []string{"client", "dispatcher", "gateway", "jobrunner", "route", "scaler"}) {
		t.Errorf("passwords of %v", users)
	}
	seen := map[string]bool{}
	for user, value := range secret.Data {
		if !password.Match(value) || seen[string(value)] {
			t.Errorf("the password of %s is not as it must be, or another's too", user)
		}
		seen[string(value)] = true
	}
	if secret.Labels["app.kubernetes.io/instance"] != release {
		t.Errorf("labels %v", secret.Labels)
	}
}

func (p *controlPlane) requireHooksGone(t *testing.T, space string) {
	t.Helper()
	until(t, "the hook's objects are gone", func(ctx context.Context) (bool, string) {
		jobs, err := p.BatchV1().Jobs(space).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		roles, err := p.RbacV1().Roles(space).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(jobs.Items) == 0 && len(roles.Items) == 2, fmt.Sprintf("%d jobs, %d roles", len(jobs.Items), len(roles.Items))
	})
}

func (p *controlPlane) awaitClaims(t *testing.T, space string, count int) {
	t.Helper()
	until(t, "the servers have their claims", func(ctx context.Context) (bool, string) {
		claims, err := p.CoreV1().PersistentVolumeClaims(space).List(ctx, metav1.ListOptions{})
		return err == nil && len(claims.Items) == count, fmt.Sprintf("%v %d claims", err, len(claims.Items))
	})
}

// passing are kinds that come and go by themselves.
var passing = []string{"events", "componentstatuses", "ipaddresses"}

// everything has each object of the cluster by its UID: kind, namespace and name.
func (p *controlPlane) everything(t *testing.T) map[types.UID]string {
	t.Helper()
	lists, err := discovery.ServerPreferredResources(p.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	all := map[types.UID]string{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || slices.Contains(passing, resource.Name) {
				continue
			}
			objects, err := p.metadata.Resource(version.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("list %s: %v", resource.Name, err)
			}
			for _, o := range objects.Items {
				all[o.UID] = fmt.Sprintf("%s %s %s %s", o.Namespace, version.Group, resource.Name, o.Name)
			}
		}
	}
	return all
}

// added are the objects that were not there before, in order.
func (p *controlPlane) added(t *testing.T, before map[types.UID]string) []string {
	t.Helper()
	var lines []string
	for uid, line := range p.everything(t) {
		if _, was := before[uid]; !was {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

func (p *controlPlane) requireNothingNew(t *testing.T, before map[types.UID]string) {
	t.Helper()
	until(t, "everything is as before", func(context.Context) (bool, string) {
		left := p.added(t, before)
		return len(left) == 0, strings.Join(left, "\n")
	})
}
