package gateway

import (
	"errors"
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
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") { // absolute form (RFC 9112 §3.2.2), or HTTP/2
		target = r.URL.RequestURI()
	}
	path, query, _ := strings.Cut(target, "?")
	if _, err := url.PathUnescape(query); err != nil {
		return functionTarget{}, errors.New("the query has an invalid percent escape")
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
