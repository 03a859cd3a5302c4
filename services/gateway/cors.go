package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What scripts of other origins are allowed (the Fetch standard, section 3.2).
const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	// corsMaxAge is in seconds; browsers keep an answer to a preflight for two hours at most.
	corsMaxAge = "7200"
	// corsExposed are the headers of ours that scripts may read.
	corsExposed = "X-Call-Id, X-Start-Time, X-Duration-Seconds, Sluice-Cold-Start, Sluice-Held-Ms, SlimFaas-Element-Id, Location, Retry-After, Preference-Applied"
)

// Names of headers.
const (
	headerAllowOrigin = "Access-Control-Allow-Origin"
	headerVary        = "Vary"
)

// Origin is the value of a flag: an origin such as https://app.example.org, or * for all.
type Origin string

// UnmarshalText reads an origin.
func (o *Origin) UnmarshalText(text []byte) error {
	value := strings.ToLower(strings.TrimSpace(string(text)))
	u, err := url.Parse(value)
	if value != "*" && (err != nil || u.Host == "" || strings.Contains(u.Host, "*") || value != u.Scheme+"://"+u.Host) {
		return fmt.Errorf("%q is no origin, such as https://app.example.org or http://localhost:3000, and not *", text)
	}
	*o = Origin(value)
	return nil
}

// cors answers preflights, and lets scripts of the allowed origins read the answers of next. They are never allowed to send what a browser
// knows of its user.
func cors(next http.Handler, allowed []Origin) http.Handler {
	policy := corsPolicy{allowed: allowed, all: slices.Contains(allowed, "*")}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		switch {
		case isPreflight(r):
			policy.preflight(w, r)
			return
		case origin != "", policy.varies(): // who caches an answer must know that another origin may get another one
			w = &corsWriter{ResponseWriter: w, policy: policy, origin: origin}
		}
		next.ServeHTTP(w, r)
	})
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// corsPolicy says which origins are allowed.
type corsPolicy struct {
	allowed []Origin
	all     bool
}

// varies reports whether answers to one origin are not for all.
func (p corsPolicy) varies() bool { return !p.all && len(p.allowed) > 0 }

// permits returns the value of Access-Control-Allow-Origin, empty for an origin that is not allowed.
func (p corsPolicy) permits(origin string) string {
	switch {
	case origin == "":
		return ""
	case p.all:
		return "*"
	case slices.Contains(p.allowed, Origin(strings.ToLower(origin))):
		return origin
	}
	return ""
}

// preflight allows what the browser asks for. It says nothing of whether the route or the function exists.
func (p corsPolicy) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set(headerVary, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	if permitted := p.permits(r.Header.Get("Origin")); permitted != "" {
		h.Set(headerAllowOrigin, permitted)
		h.Set("Access-Control-Allow-Methods", methodsWith(r.Header.Get("Access-Control-Request-Method")))
		if asked := r.Header.Values("Access-Control-Request-Headers"); len(asked) > 0 {
			h.Set("Access-Control-Allow-Headers", strings.Join(asked, ", "))
		}
		h.Set("Access-Control-Max-Age", corsMaxAge)
	}
	w.WriteHeader(http.StatusNoContent)
}

// methodsWith is the list of the usual methods with the one that is asked for.
func methodsWith(asked string) string {
	if !isToken(asked) || slices.Contains(strings.Split(corsMethods, ", "), asked) {
		return corsMethods
	}
	return corsMethods + ", " + asked
}

// corsWriter adds the headers to an answer when it begins.
type corsWriter struct {
	http.ResponseWriter
	policy corsPolicy
	origin string
	begun  bool
}

// WriteHeader passes the status on.
func (w *corsWriter) WriteHeader(status int) {
	if status >= http.StatusOK && !w.begun {
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write passes a piece of the body on.
func (w *corsWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.begin()
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *corsWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// FlushError passes on what was written.
func (w *corsWriter) FlushError() error {
	if !w.begun {
		w.begin()
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// begin leaves an answer alone that says itself who may read it.
func (w *corsWriter) begin() {
	w.begun = true
	h := w.Header()
	if h.Get(headerAllowOrigin) != "" {
		return
	}
	if w.policy.varies() {
		h.Add(headerVary, "Origin")
	}
	if permitted := w.policy.permits(w.origin); permitted != "" {
		h.Set(headerAllowOrigin, permitted)
		h.Add("Access-Control-Expose-Headers", corsExposed)
	}
}
