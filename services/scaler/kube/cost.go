package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicefaas/sluice/pkg/kube"
)

// cheapest is the lowest deletion cost that there is. Of pods that are equally ready, a ReplicaSet's controller ends those with
// the lowest cost first (Kubernetes documentation, ReplicaSet, "Pod deletion cost").
const cheapest = "-2147483648"

// maxMarks bounds the pods that are marked at a time.
const maxMarks = 16

// mark gives the victims the lowest cost, and takes it from those that an earlier cut has marked and left. pods are
// the ones that exist, and whether each has the mark.
func (c *Cluster) mark(ctx context.Context, pods map[string]bool, victims []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxMarks)
	for name, marked := range pods {
		if wanted := slices.Contains(victims, name); wanted != marked {
			group.Go(func() error { return c.markOne(ctx, name, wanted) })
		}
	}
	return group.Wait()
}

// markOne patches one annotation; a pod that is gone needs none.
func (c *Cluster) markOne(ctx context.Context, name string, cheap bool) error {
	var cost any // nothing removes the annotation
	if cheap {
		cost = cheapest
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{corev1.PodDeletionCost: cost}}})
	if err != nil {
		return fmt.Errorf("write the deletion cost of pod %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, kube.RequestTimeout)
	defer cancel()
	pods := c.client.core.Pods(c.client.Namespace())
	_, err = pods.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: c.client.Agent()})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("set the deletion cost of pod %s: %w", name, err)
	}
	return nil
}
