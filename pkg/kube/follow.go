package kube

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// relook bounds how long a reflector rests after a failure. The usual 30 s would delay the catching up after an API server's
// outage by that much, and a few services that ask each second do it no harm.
var relook = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 8, Cap: time.Second}

// Source is one kind of objects to follow.
type Source struct {
	// what names it in the log.
	what    string
	example runtime.Object
	// labels and fields select some of them; empty for all.
	labels, fields string

	list  func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error)
	watch func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

// Lister is what the typed clients of a kind have in common.
type Lister[L runtime.Object] interface {
	List(ctx context.Context, options metav1.ListOptions) (L, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

// NewSource makes a Source. what names the kind in the log, example is an empty object of it.
func NewSource[L runtime.Object](what string, example runtime.Object, from Lister[L]) Source {
	return Source{
		what: what, example: example, watch: from.Watch,
		list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := from.List(ctx, options)
			if err != nil {
				return nil, err
			}
			return list, nil
		},
	}
}

// Selecting is the part of a Source with these labels and fields, both as Kubernetes writes selectors; empty for any.
func (s Source) Selecting(labels, fields string) Source {
	s.labels, s.fields = labels, fields
	return s
}

// Keeper is where a service keeps what it needs of a kind of objects. Its other methods are called while it is locked.
type Keeper interface {
	sync.Locker
	// Put takes an object as it is now, and Drop forgets one that is gone.
	Put(object any)
	Drop(uid types.UID)
	// Listed says that all objects that there are have been put: after the first list, and after each later one.
	Listed()
}

// Follow keeps the keeper up to date with one kind of objects, through every failure, until ctx ends. It begins with a list as of now.
func (c *Client) Follow(ctx context.Context, source Source, keeper Keeper) {
	defer c.outage.forget(source.what)
	backoff := relook
	options := cache.ReflectorOptions{Name: source.what, Backoff: &backoff}
	cache.NewReflectorWithOptions(c.requests(source), source.example, &store{keeper: keeper, known: map[types.UID]struct{}{}}, options).RunWithContext(c.WithLog(ctx))
}

// requests are those of a reflector.
func (c *Client) requests(s Source) cache.ListerWatcher {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			if options.ResourceVersion == "0" {
				options.ResourceVersion = "" // the truth of this moment, not what some API server has in its cache
			}
			options.LabelSelector, options.FieldSelector = s.labels, s.fields
			limited, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			list, err := s.list(limited, options)
			c.noteWatch(ctx, s, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector, options.FieldSelector = s.labels, s.fields
			events, err := s.watch(ctx, options)
			if options.SendInitialEvents == nil || !apierrors.IsInvalid(err) { // which an older API server says: a list follows
				c.noteWatch(ctx, s, err)
			}
			return events, err
		},
	}
}

func (c *Client) noteWatch(ctx context.Context, s Source, err error) {
	if ctx.Err() == nil {
		c.outage.note(s.what, unexpected(err))
	}
}

// store is a Keeper as a reflector writes it, from one goroutine.
type store struct {
	keeper Keeper
	known  map[types.UID]struct{}
}

var _ cache.ReflectorStore = (*store)(nil)

// Add implements cache.ReflectorStore.
func (s *store) Add(object any) error { return s.Update(object) }

// Update implements cache.ReflectorStore.
func (s *store) Update(object any) error {
	s.keeper.Lock()
	defer s.keeper.Unlock()
	s.put(object)
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *store) Delete(object any) error {
	s.keeper.Lock()
	defer s.keeper.Unlock()
	if meta, ok := object.(metav1.Object); ok {
		s.drop(meta.GetUID())
	}
	return nil
}

// Replace implements cache.ReflectorStore: what is not in the list is gone.
func (s *store) Replace(objects []any, _ string) error {
	s.keeper.Lock()
	defer s.keeper.Unlock()
	before := s.known
	s.known = make(map[types.UID]struct{}, len(objects))
	for _, object := range objects {
		s.put(object)
	}
	for uid := range before {
		if _, listed := s.known[uid]; !listed {
			s.drop(uid)
		}
	}
	s.keeper.Listed()
	return nil
}

// Resync implements cache.ReflectorStore; there is nothing to do again.
func (s *store) Resync() error { return nil }

func (s *store) put(object any) {
	if meta, ok := object.(metav1.Object); ok {
		s.known[meta.GetUID()] = struct{}{}
		s.keeper.Put(object)
	}
}

func (s *store) drop(uid types.UID) {
	delete(s.known, uid)
	s.keeper.Drop(uid)
}
