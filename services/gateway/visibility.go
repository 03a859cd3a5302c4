package gateway

import (
	"net/http"

	"github.com/sluicefaas/sluice/pkg/function"
)

// callable is the function of that name, if the caller of r may call its path, which is given as it was sent. A function that he
// may not call is answered like one that is not there.
func (g *Gateway) callable(r *http.Request, name, path string) (*target, error) {
	t, err := g.named(name)
	if err != nil {
		return nil, err
	}
	if t.state.Load().Function.VisibilityOf(path) == function.Private && !g.isInside(r) {
		return nil, functionNotFound(name)
	}
	return t, nil
}

// visible is the function of that name, if the caller of r may know of it.
func (g *Gateway) visible(r *http.Request, name string) (*target, error) {
	t, err := g.named(name)
	if err != nil {
		return nil, err
	}
	if t.private() && !g.isInside(r) {
		return nil, functionNotFound(name)
	}
	return t, nil
}

// allVisible are the functions that the caller of r may know of, sorted by name.
func (g *Gateway) allVisible(r *http.Request) []*target {
	all := g.functions.all()
	if g.isInside(r) {
		return all
	}
	public := all[:0] // all is a copy
	for _, t := range all {
		if !t.private() {
			public = append(public, t)
		}
	}
	return public
}

// private reports whether the function, as a whole, is for callers from inside.
func (t *target) private() bool {
	return t.state.Load().Function.DefaultVisibility == function.Private
}

// named is the function of that name.
func (g *Gateway) named(name string) (*target, error) {
	if t := g.functions.get(name); t != nil {
		return t, nil
	}
	if p := g.notStarted(); p != nil {
		return nil, p
	}
	return nil, functionNotFound(name)
}
