package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// snapshot has every object of a cluster, of every kind that the API server tells of: its resource, namespace and name.
type snapshot map[string]bool

// passing are kinds that come and go by themselves.
var passing = []string{"events", "componentstatuses", "ipaddresses"}

func (k *kube) snapshot(ctx context.Context) (snapshot, error) {
	lists, err := discovery.ServerPreferredResources(k.Discovery())
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("ask which kinds there are: %w", err)
	}
	all := snapshot{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("read a kind's version: %w", err)
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || slices.Contains(passing, resource.Name) {
				continue
			}
			if err := k.gather(ctx, version.WithResource(resource.Name), all); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func (k *kube) gather(ctx context.Context, resource schema.GroupVersionResource, into snapshot) error {
	objects, err := k.metadata.Resource(resource).List(ctx, metav1.ListOptions{})
	if apierrors.IsMethodNotSupported(err) || notFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", resource.Resource, err)
	}
	for _, o := range objects.Items {
		if o.Namespace == corev1.NamespaceNodeLease { // a node's sign of life
			continue
		}
		into[resource.GroupResource().String()+" "+o.Namespace+"/"+o.Name] = true
	}
	return nil
}

// added are the objects that are here and were not in before, sorted.
func (s snapshot) added(before snapshot) []string {
	var added []string
	for _, object := range slices.Sorted(maps.Keys(s)) {
		if !before[object] {
			added = append(added, object)
		}
	}
	return added
}

// ofNamespace says whether Kubernetes itself makes the object for each namespace, or it is the namespace: helm --create-namespace leaves it.
func ofNamespace(object, namespace string) bool {
	return slices.Contains([]string{
		"namespaces /" + namespace, "serviceaccounts " + namespace + "/default", "configmaps " + namespace + "/kube-root-ca.crt",
	}, object)
}

// ours says whether the object may be Sluice's: on a cluster of others, theirs come and go too.
func ours(object, namespace string) bool {
	_, place, _ := strings.Cut(object, " ")
	return strings.HasPrefix(place, namespace+"/") || strings.Contains(place, release)
}
