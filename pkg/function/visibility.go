package function

import (
	"slices"
	"strings"
)

// PathRule is one rule of PathsStartWithVisibility.
type PathRule struct {
	// Prefix begins with a slash.
	Prefix     string     `json:"prefix"`
	Visibility Visibility `json:"visibility"`
}

// VisibilityOf is the visibility of one path of the function, given escaped as the caller sent it: that of the first rule whose
// prefix fits, else DefaultVisibility. Prefixes are texts, so /admin fits /administrator too; letters of both cases are alike, and
// the slash at the beginning may be missing.
//
// Servers do not agree on what a path means once it has escapes, dots, double slashes, backslashes, parameters or control characters in
// it, and the function's server is not known here. So the path is Private if any of its readings is: those that a server, or several
// behind each other, may come to by doing these steps in any order. That is never less private than the plain reading. A path that
// no server can read, or that has more readings than are worth the time, counts as the most private path that the function has.
func (f Function) VisibilityOf(rawPath string) Visibility {
	if len(f.PathVisibility) == 0 || f.mostPrivate() == Public {
		return f.DefaultVisibility
	}
	readings, ok := readingsOf(rawPath)
	if !ok {
		return Private
	}
	prefixes := make([]string, len(f.PathVisibility))
	for i, rule := range f.PathVisibility {
		prefixes[i] = fold(rule.Prefix)
	}
	for _, path := range readings {
		if f.visibilityOfReading(fold(path), prefixes) == Private {
			return Private
		}
	}
	return Public
}

// visibilityOfReading takes everything folded.
func (f Function) visibilityOfReading(path string, prefixes []string) Visibility {
	i := slices.IndexFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
	if i < 0 {
		return f.DefaultVisibility
	}
	return f.PathVisibility[i].Visibility
}

// mostPrivate is Private if any path of the function can be.
func (f Function) mostPrivate() Visibility {
	private := func(rule PathRule) bool { return rule.Visibility == Private }
	if f.DefaultVisibility == Private || slices.ContainsFunc(f.PathVisibility, private) {
		return Private
	}
	return Public
}

// Trust says whether the pods of a function count as inside.
type Trust string

// The two kinds of trust.
const (
	Trusted   Trust = "Trusted"
	Untrusted Trust = "Untrusted"
)

// Subscription is one event that a function gets.
type Subscription struct {
	Event string `json:"event"`
	// Visibility is Private for an event that only callers from inside may publish to this function.
	Visibility Visibility `json:"visibility"`
}

// Subscribes returns whether the function gets the event from a publisher who is inside, or is not.
func (f Function) Subscribes(event string, inside bool) bool {
	for _, s := range f.SubscribeEvents {
		if s.Event == event && (inside || s.Visibility == Public) {
			return true
		}
	}
	return false
}

// ProtocolH2C is HTTP/2 without TLS, from the first byte on (RFC 9113 §3.3).
const ProtocolH2C = "h2c"

// Kinds of an Insider.
const (
	InsiderFunction = "function"
	InsiderJob      = "job"
	InsiderSluice   = "sluice"
)

// Insider says who is at an address whose callers count as inside.
type Insider struct {
	Kind string `json:"kind"`
	// Name is that of the function or job, or of our own service.
	Name string `json:"name"`
	// Replica is the name of the pod.
	Replica string `json:"replica,omitempty"`
}
