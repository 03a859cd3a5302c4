package kube

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/sluicefaas/sluice/pkg/kube/kubetest"
)

// notes is a Keeper that keeps names and what it was told.
type notes struct {
	sync.Mutex
	names map[types.UID]string
	heard []string
}

func (n *notes) Put(object any) {
	c := object.(*corev1.ConfigMap)
	n.names[c.UID] = c.Name
	n.heard = append(n.heard, "put "+c.Name)
}

func (n *notes) Drop(uid types.UID) {
	n.heard = append(n.heard, "drop "+n.names[uid])
	delete(n.names, uid)
}

func (n *notes) Listed() { n.heard = append(n.heard, "listed") }

func (n *notes) take() string {
	n.Lock()
	defer n.Unlock()
	heard := n.heard
	n.heard = nil
	return strings.Join(heard, ", ")
}

func (n *notes) all() (names []string) {
	n.Lock()
	defer n.Unlock()
	for _, name := range n.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}}
}

// A list is the whole truth: what it lacks is gone, and nothing is seen of it half done.
func TestListReplacesWhatWasKnown(t *testing.T) {
	keeper := &notes{names: map[types.UID]string{}}
	s := &store{keeper: keeper, known: map[types.UID]struct{}{}}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return s.Replace([]any{configMap("a"), configMap("b")}, "") }, "put a, put b, listed"},
		{func() error { return s.Add(configMap("c")) }, "put c"},
		{func() error { return s.Update(configMap("a")) }, "put a"},
		{func() error { return s.Delete(configMap("a")) }, "drop a"},
		{func() error { return s.Replace([]any{configMap("c")}, "") }, "put c, drop b, listed"},
		{func() error { return s.Replace(nil, "") }, "drop c, listed"},
		{func() error { return s.Update("no object") }, ""},
		{func() error { return s.Delete(nil) }, ""},
		{s.Resync, ""},
	} {
		if err := step.do(); err != nil {
			t.Error(err)
		}
		if got := keeper.take(); got != step.want {
			t.Errorf("it has heard %q, want %q", got, step.want)
		}
	}
	if len(s.known) > 0 {
		t.Errorf("still known: %v", s.known)
	}
}

// Lists and watches select the same; a list is of this moment, and not of some server's cache.
func TestListsAndWatchesSelect(t *testing.T) {
	var seen []metav1.ListOptions
	source := Source{
		list: func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
			seen = append(seen, options)
			return &corev1.ConfigMapList{}, nil
		},
		watch: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			seen = append(seen, options)
			return watch.NewEmptyWatch(), nil
		},
	}.Selecting("a=b", "metadata.name=c")
	requests, is := (&Client{outage: newOutage(tester, zerolog.Nop())}).requests(source).(*cache.ListWatch)
	if !is {
		t.Fatal("the requests are no ListWatch")
	}
	if _, err := requests.ListWithContextFunc(t.Context(), metav1.ListOptions{ResourceVersion: "0"}); err != nil {
		t.Fatal(err)
	}
	if _, err := requests.WatchFuncWithContext(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, options := range seen {
		if options.LabelSelector != "a=b" || options.FieldSelector != "metadata.name=c" || options.ResourceVersion != "" {
			t.Errorf("it asks for %+v", options)
		}
	}
	if len(seen) != 2 {
		t.Errorf("%d requests", len(seen))
	}
}

// What has changed while a client was cut off is caught up with, and what the labels do not select is never told.
func TestFollowCatchesUp(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	config := n.config("cut-off")
	var network *kubetest.Proxy
	config.Kubeconfig, network = n.Through()
	client := n.connect(config)
	access, connections := client.Access()
	core, err := corev1client.NewForConfigAndClient(access, connections)
	if err != nil {
		t.Fatal(err)
	}
	maps := n.Admin.CoreV1().ConfigMaps(n.Name)
	create := func(name, label string) {
		t.Helper()
		made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"ours": label}}}
		if _, err := maps.Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("first", "yes")
	create("other", "no")
	create("hidden", "yes")
	keeper := &notes{names: map[types.UID]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() {
		client.Follow(ctx, NewSource("ConfigMaps", &corev1.ConfigMap{}, core.ConfigMaps(n.Name)).Selecting("ours=yes", "metadata.name!=hidden"), keeper)
	})
	n.Eventually("it is listed", func() bool { return slices.Equal(keeper.all(), []string{"first"}) })
	network.Stall()
	create("second", "yes")
	if err := maps.Delete(t.Context(), "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	network.Cut()
	network.Resume()
	n.Eventually("it is caught up with", func() bool { return slices.Equal(keeper.all(), []string{"second"}) })
	cancel()
	following.Wait()
}
