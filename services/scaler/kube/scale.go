package kube

import (
	"context"
	"errors"
	"fmt"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/kube"
)

// Errors of SetReplicas, wrapped with the name of the function.
var (
	ErrUnknownFunction = errors.New("there is no function of that name in the namespace")
	ErrNotWatching     = errors.New("the cluster is not watched")
	ErrRaised          = errors.New("somebody else has raised the count meanwhile")
	ErrReplaced        = errors.New("the workload was replaced by another one of its name")
)

// maxScaling bounds the counts that are set at a time. When thousands of functions wake at once, an API server finishes them sooner
// one after the other than all at the same time, and none waits longer than its request may take.
const maxScaling = 32

// maxConflicts bounds how often the object may change under one request: each change of its status counts.
const maxConflicts = 10

// SetReplicas implements scaler.Cluster. It writes through the scale subresource, so that nothing else of the object is touched,
// and on condition that the object is still what the observer knows. Where it is not, the count that is there decides: what
// somebody else has raised to the wanted count or above is left as it is, and a cut of a count that somebody has raised
// meanwhile is refused with ErrRaised. Other errors are ErrUnknownFunction, ErrNotWatching, ErrReplaced and those of the
// Kubernetes API.
//
// The victims that are pods of a Deployment get the lowest deletion cost before a cut, by which its ReplicaSet's controller ends
// them first; a StatefulSet always ends its highest numbers.
func (c *Cluster) SetReplicas(ctx context.Context, name string, count int, victims []string) error {
	if err := c.setReplicas(c.client.WithLog(ctx), name, count, victims); err != nil {
		return fmt.Errorf("set replicas of function %s to %d: %w", name, count, err)
	}
	return nil
}

func (c *Cluster) setReplicas(ctx context.Context, name string, count int, victims []string) error {
	if count < 0 || count > function.MaxReplicas {
		return fmt.Errorf("the count must be a whole number from 0 to %d", function.MaxReplicas)
	}
	t, err := c.find(name)
	if err != nil {
		return err
	}
	done, err := c.enter(ctx, t)
	if err != nil {
		return err
	}
	defer done()
	known := c.snapshot(t)
	if count > 0 && count < known.count.replicas && known.count.kind == function.KindDeployment {
		if err := c.mark(ctx, known.pods, victims); err != nil {
			return err
		}
	}
	s := &scaling{client: c.client, name: name, wanted: count, known: known.count, current: known.count}
	err = s.run(ctx)
	if s.current.replicas == count { // another one is for the observer to see first
		c.wrote(t, s.current)
	}
	return err
}

// enter waits until no other request for the function is under way, and not too many for others.
func (c *Cluster) enter(ctx context.Context, t *told) (done func(), err error) {
	select {
	case <-t.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		t.turn <- struct{}{}
		return nil, ctx.Err()
	}
	return func() { <-c.slots; t.turn <- struct{}{} }, nil
}

func (c *Cluster) find(name string) (*told, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.functions[name]
	switch {
	case c.functions == nil:
		return nil, ErrNotWatching
	case t == nil || t.observation.workload.Watched:
		return nil, ErrUnknownFunction
	}
	return t, nil
}

func (c *Cluster) snapshot(t *told) observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.observation
}

// wrote notes that a count is there which was asked for, unless the observer knows a newer version.
func (c *Cluster) wrote(t *told, current count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if current.uid == t.observation.count.uid && older(t.observation.count, current) {
		t.observation.count = current
	}
}

// older compares two versions of one object. Versions that cannot be compared are never older.
func older(a, b count) bool {
	order, err := resourceversion.CompareResourceVersion(a.version, b.version)
	return err == nil && order < 0 && a.uid == b.uid
}

// scaling is one request for a count.
type scaling struct {
	client *Client
	name   string
	wanted int
	// known is what the request was decided on, current what is known to be there.
	known, current count
}

// verdict is what to do about a count that is there.
type verdict int

const (
	write verdict = iota
	leave
	refuse
)

// judge decides on a count that the API server has now, where the wanted one was decided on the known one.
func judge(wanted, known, current int) verdict {
	switch {
	case wanted == current, wanted >= known && current > wanted, wanted < known && current < wanted:
		return leave
	case wanted < known && current > known:
		return refuse
	}
	return write
}

// run writes the count. It trusts what is known unless that says that there is nothing to do.
func (s *scaling) run(ctx context.Context) error {
	if s.wanted == s.known.replicas {
		if err := s.read(ctx); err != nil {
			return err
		}
	}
	for range maxConflicts {
		switch judge(s.wanted, s.known.replicas, s.current.replicas) {
		case leave:
			return nil
		case refuse:
			return fmt.Errorf("%w, from %d to %d", ErrRaised, s.known.replicas, s.current.replicas)
		}
		err := s.write(ctx)
		if !apierrors.IsConflict(err) {
			return err
		}
		if err := s.read(ctx); err != nil {
			return err
		}
	}
	return errors.New("the workload changes too fast")
}

// scales is the scale subresource of a kind.
type scales interface {
	GetScale(ctx context.Context, name string, options metav1.GetOptions) (*autoscalingv1.Scale, error)
	UpdateScale(ctx context.Context, name string, scale *autoscalingv1.Scale, options metav1.UpdateOptions) (*autoscalingv1.Scale, error)
}

func (s *scaling) scales() scales {
	if s.known.kind == function.KindStatefulSet {
		return s.client.apps.StatefulSets(s.client.Namespace())
	}
	return s.client.apps.Deployments(s.client.Namespace())
}

func (s *scaling) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, kube.RequestTimeout)
	defer cancel()
	scale, err := s.scales().GetScale(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the scale: %w", err)
	}
	return s.take(scale)
}

// write asks for the wanted count. A conflict is returned as it is.
func (s *scaling) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, kube.RequestTimeout)
	defer cancel()
	scale, err := s.scales().UpdateScale(ctx, s.name, &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name: s.name, Namespace: s.client.Namespace(), UID: s.current.uid, ResourceVersion: s.current.version,
		},
		Spec: autoscalingv1.ScaleSpec{Replicas: int32(s.wanted)}, // at most function.MaxReplicas
	}, metav1.UpdateOptions{FieldManager: s.client.Agent()})
	switch {
	case apierrors.IsConflict(err):
		return err
	case err != nil:
		return fmt.Errorf("write the scale: %w", err)
	}
	return s.take(scale)
}

// take notes what the API server has.
func (s *scaling) take(scale *autoscalingv1.Scale) error {
	if scale.UID != s.known.uid {
		return ErrReplaced
	}
	s.current.version, s.current.replicas = scale.ResourceVersion, int(scale.Spec.Replicas)
	return nil
}
