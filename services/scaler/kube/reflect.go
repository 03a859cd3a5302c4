package kube

import (
	"context"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// relook bounds how long a reflector rests after a failure. The usual 30 s would delay the catching up after an API server's
// outage by that much, and a few scalers that ask each second do it no harm.
var relook = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 8, Cap: time.Second}

// source is one kind of objects to watch.
type source struct {
	kind int
	// what names it in the log.
	what    string
	example runtime.Object
	list    func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error)
	watch   func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

// lister is what the typed clients of a kind have in common.
type lister[L runtime.Object] interface {
	List(ctx context.Context, options metav1.ListOptions) (L, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

func newSource[L runtime.Object](kind int, what string, example runtime.Object, from lister[L]) source {
	return source{
		kind: kind, what: what, example: example, watch: from.Watch,
		list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := from.List(ctx, options)
			if err != nil {
				return nil, err
			}
			return list, nil
		},
	}
}

// sources are all kinds. Of ReplicaSets only the metadata is read: whom they belong to.
func (c *Client) sources() []source {
	namespace := c.config.Namespace
	return []source{
		newSource(ofDeployments, "Deployments", &appsv1.Deployment{}, c.apps.Deployments(namespace)),
		newSource(ofStatefulSets, "StatefulSets", &appsv1.StatefulSet{}, c.apps.StatefulSets(namespace)),
		newSource(ofReplicaSets, "ReplicaSets", &metav1.PartialObjectMetadata{},
			c.metadata.Resource(appsv1.SchemeGroupVersion.WithResource("replicasets")).Namespace(namespace)),
		newSource(ofPods, "Pods", &corev1.Pod{}, c.core.Pods(namespace)),
		newSource(ofServices, "Services", &corev1.Service{}, c.core.Services(namespace)),
	}
}

// reflector keeps the view up to date with one kind, through every failure, until its context ends.
func (c *Client) reflector(s source, v *view) *cache.Reflector {
	requests := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			if options.ResourceVersion == "0" {
				options.ResourceVersion = "" // the truth of this moment, not what some API server has in its cache
			}
			limited, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			list, err := s.list(limited, options)
			c.noteWatch(ctx, s, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			events, err := s.watch(ctx, options)
			if options.SendInitialEvents == nil || !apierrors.IsInvalid(err) { // which an older API server says: a list follows
				c.noteWatch(ctx, s, err)
			}
			return events, err
		},
	}
	backoff := relook
	return cache.NewReflectorWithOptions(requests, s.example, &keeper{view: v, kind: s.kind}, cache.ReflectorOptions{Name: s.what, Backoff: &backoff})
}

func (c *Client) noteWatch(ctx context.Context, s source, err error) {
	if ctx.Err() == nil {
		c.outage.note(s.what, unexpected(err))
	}
}

// keeper is the view as the reflector of one kind writes it.
type keeper struct {
	view *view
	kind int
}

var _ cache.ReflectorStore = (*keeper)(nil)

// Add implements cache.ReflectorStore.
func (k *keeper) Add(object any) error { return k.Update(object) }

// Update implements cache.ReflectorStore.
func (k *keeper) Update(object any) error {
	k.view.mu.Lock()
	defer k.view.mu.Unlock()
	k.put(object)
	return nil
}

// Delete implements cache.ReflectorStore.
func (k *keeper) Delete(object any) error {
	k.view.mu.Lock()
	defer k.view.mu.Unlock()
	if meta, ok := object.(metav1.Object); ok {
		k.drop(meta.GetUID())
	}
	return nil
}

// Replace implements cache.ReflectorStore: what is not in the list is gone.
func (k *keeper) Replace(objects []any, _ string) error {
	k.view.mu.Lock()
	defer k.view.mu.Unlock()
	listed := make(map[types.UID]struct{}, len(objects))
	for _, object := range objects {
		if meta, ok := object.(metav1.Object); ok {
			listed[meta.GetUID()] = struct{}{}
		}
		k.put(object)
	}
	for _, uid := range k.known() {
		if _, there := listed[uid]; !there {
			k.drop(uid)
		}
	}
	k.view.isListed(k.kind)
	return nil
}

// Resync implements cache.ReflectorStore; there is nothing to do again.
func (k *keeper) Resync() error { return nil }

// put takes an object as it is now. A pod or ReplicaSet that has no controller any more is dropped.
func (k *keeper) put(object any) {
	switch object := object.(type) {
	case *appsv1.Deployment:
		k.view.putWorkload(readDeployment(object, k.view.before(ofDeployments, object)))
	case *appsv1.StatefulSet:
		k.view.putWorkload(readStatefulSet(object, k.view.before(ofStatefulSets, object)))
	case *metav1.PartialObjectMetadata:
		if deployment, controlled := controllerOf(object, "Deployment"); controlled {
			k.view.putSet(object.UID, deployment)
		} else {
			k.view.dropSet(object.UID)
		}
	case *corev1.Pod:
		if p, kept := readPod(object, k.view.own); kept {
			k.view.putPod(p)
		} else {
			k.view.dropPod(object.UID)
		}
	case *corev1.Service:
		k.view.putService(object)
	}
}

func (k *keeper) drop(uid types.UID) {
	switch k.kind {
	case ofDeployments, ofStatefulSets:
		k.view.dropWorkload(uid)
		delete(k.view.silent, uid)
	case ofReplicaSets:
		k.view.dropSet(uid)
	case ofPods:
		k.view.dropPod(uid)
	case ofServices:
		k.view.dropService(uid)
	}
}

// known are the objects of the kind that the view has.
func (k *keeper) known() []types.UID {
	switch k.kind {
	case ofReplicaSets:
		return slices.Collect(maps.Keys(k.view.sets))
	case ofPods:
		return slices.Collect(maps.Keys(k.view.pods))
	case ofServices:
		return slices.Collect(maps.Keys(k.view.services))
	}
	var uids []types.UID
	for uid, w := range k.view.workloads {
		if w.source == k.kind {
			uids = append(uids, uid)
		}
	}
	return uids
}
