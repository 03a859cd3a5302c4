package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Labels of what the tests make, so that it can be found and removed.
const (
	labelTest = "sluice.test/made-by"
	labelApp  = "app"
	madeByE2E = "e2e"
)

// kube is the cluster's API.
type kube struct {
	kubernetes.Interface
	metadata  metadata.Interface
	namespace string
}

// connect opens the API that the kubeconfig names. Nothing slows its requests down: two thousand functions are made through it.
func connect(kubeconfig, namespace string) (*kube, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst, config.UserAgent = 1000, 1000, "sluice-e2e"
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("open the API: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("open the API for metadata: %w", err)
	}
	return &kube{Interface: client, metadata: meta, namespace: namespace}, nil
}

// pods are those of the label app, by age, without those that have ended.
func (k *kube) pods(ctx context.Context, app string) ([]corev1.Pod, error) {
	list, err := k.CoreV1().Pods(k.namespace).List(ctx, metav1.ListOptions{LabelSelector: labelApp + "=" + app})
	if err != nil {
		return nil, err
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	})
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return pods, nil
}

// readyPods are those that are ready and not about to end.
func (k *kube) readyPods(ctx context.Context, app string) ([]corev1.Pod, error) {
	pods, err := k.pods(ctx, app)
	return slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || !isReady(p) }), err
}

func isReady(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// names of pods with their state, for messages.
func names(pods []corev1.Pod) []string {
	var all []string
	for _, p := range pods {
		text := p.Name + " " + string(p.Status.Phase)
		if isReady(p) {
			text += " ready"
		}
		if p.DeletionTimestamp != nil {
			text += " terminating"
		}
		all = append(all, text)
	}
	return all
}

// workload is a Deployment or StatefulSet, reduced to what scenarios look at.
type workload struct {
	replicas   int32 // wanted
	present    int32 // as the workload's status says
	generation int64
}

func (k *kube) workload(ctx context.Context, kind, name string) (workload, error) {
	if kind == kindStatefulSet {
		set, err := k.AppsV1().StatefulSets(k.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return workload{}, err
		}
		return workload{*set.Spec.Replicas, set.Status.Replicas, set.Generation}, nil
	}
	deployment, err := k.AppsV1().Deployments(k.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return workload{}, err
	}
	return workload{*deployment.Spec.Replicas, deployment.Status.Replicas, deployment.Generation}, nil
}

// awaitPods waits for exactly count ready pods of the app, and none beside them.
func (k *kube) awaitPods(ctx context.Context, t *testing.T, app string, count int) []corev1.Pod {
	t.Helper()
	var ready []corev1.Pod
	until(ctx, t, fmt.Sprintf("%d ready pods of %s", count, app), time.Minute, func(ctx context.Context) (bool, string) {
		all, err := k.pods(ctx, app)
		if err != nil {
			return false, err.Error()
		}
		ready = slices.DeleteFunc(slices.Clone(all), func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || !isReady(p) })
		return len(ready) == count && len(all) == count, fmt.Sprint(names(all))
	})
	return ready
}

// awaitZero waits until the workload wants no replica and has none.
func (k *kube) awaitZero(ctx context.Context, t *testing.T, f function) {
	t.Helper()
	until(ctx, t, f.name+" at zero", 2*time.Minute, func(ctx context.Context) (bool, string) {
		w, err := k.workload(ctx, f.kind, f.name)
		if err != nil {
			return false, err.Error()
		}
		pods, err := k.pods(ctx, f.name)
		if err != nil {
			return false, err.Error()
		}
		return w.replicas == 0 && w.present == 0 && len(pods) == 0, fmt.Sprintf("%+v, pods %v", w, names(pods))
	})
}

// ensureNamespace makes a namespace unless it is there.
func (k *kube) ensureNamespace(ctx context.Context, name string) error {
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{labelTest: madeByE2E}}}
	_, err := k.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// create makes the workload.
func (k *kube) create(ctx context.Context, f function) error {
	if f.kind == kindStatefulSet {
		_, err := k.AppsV1().StatefulSets(f.in(k)).Create(ctx, f.statefulSet(), metav1.CreateOptions{})
		return err
	}
	_, err := k.AppsV1().Deployments(f.in(k)).Create(ctx, f.deployment(), metav1.CreateOptions{})
	return err
}

// remove ends the workload and its pods.
func (k *kube) remove(ctx context.Context, f function) error {
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	if f.kind == kindStatefulSet {
		return k.AppsV1().StatefulSets(f.in(k)).Delete(ctx, f.name, options)
	}
	return k.AppsV1().Deployments(f.in(k)).Delete(ctx, f.name, options)
}
