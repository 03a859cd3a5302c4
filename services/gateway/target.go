package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// functionTarget is what a request line asks of a function: its name, and path and query as they were sent.
type functionTarget struct {
	name, path, query string
}

// parseTarget takes the request target apart behind the route's first segment. It works on the line as it came: nothing is
// decoded or cleaned, because the function must see what the caller sent.
func parseTarget(r *http.Request) (functionTarget, error) {
	target := originForm(r.RequestURI)
	if strings.Contains(target, "#") { // no part of a target (RFC 9112 §3.2); servers differ in what they make of it
		return functionTarget{}, errors.New("it has a #, which must be sent as %23")
	}
	path, query, _ := strings.Cut(target, "?")
	if _, err := url.PathUnescape(query); err != nil {
		return functionTarget{}, fmt.Errorf("the query has an %w", err)
	}
	_, rest, _ := strings.Cut(path[1:], "/") // behind "function" or "async-function"
	name, below, found := strings.Cut(rest, "/")
	if found {
		below = "/" + below
	} else {
		below = "/"
	}
	return functionTarget{name: name, path: below, query: query}, nil
}

// originForm takes scheme and host off a target in absolute form (RFC 9112 §3.2.2).
func originForm(target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	_, rest, _ := strings.Cut(target, "://")
	if at := strings.IndexAny(rest, "/?"); at >= 0 && rest[at] == '/' {
		return rest[at:]
	}
	return "/"
}
