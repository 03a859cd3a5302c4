package upstream

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// hopByHop are the fields that concern one connection only (RFC 9110 §7.6.1), in canonical form: those of the
// standard, of its predecessors, and Proxy-Connection, which some clients still send.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// forwarding are the fields that say for whom a proxy speaks.
var forwarding = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// RemoveHopByHop removes the fields that concern one connection only, and those that Connection names (RFC 9110
// §7.6.1). "TE: trailers" stays, because trailers are passed on. Where Connection also has "close", net/http has
// deleted it before anybody sees it, and the fields that it named stay.
func RemoveHopByHop(h http.Header) {
	trailers := httpguts.HeaderValuesContainsToken(h["Te"], "trailers")
	for _, value := range h["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
}

// ReservedFromOutside reports whether the field is one that only Sluice may send to a function: Sluice-*,
// X-SlimFaas-Job* and the three fields of an attempt, in any case. Nats-* fields are the caller's own.
func ReservedFromOutside(name string) bool {
	return hasPrefixFold(name, "Sluice-") || hasPrefixFold(name, "X-SlimFaas-Job") ||
		strings.EqualFold(name, "SlimFaas-Element-Id") ||
		strings.EqualFold(name, "SlimFaas-Try-Number") ||
		strings.EqualFold(name, "SlimFaas-Last-Try")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// SetForwarded makes h say from where in came: X-Forwarded-For is the TCP peer, X-Forwarded-Host the host that was
// asked for, X-Forwarded-Proto how. What the caller sent is dropped, Forwarded too, unless his peer is trusted: then
// the peer is added to his X-Forwarded-For, and the others stay as he sent them.
func SetForwarded(h http.Header, in *http.Request, trusted bool) {
	for _, name := range forwarding {
		delete(h, name)
		if values := in.Header[name]; trusted && len(values) > 0 {
			h[name] = slices.Clone(values)
		}
	}
	if peer, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", strings.Join(append(h["X-Forwarded-For"], peer), ", "))
	}
	setIfAbsent(h, "X-Forwarded-Host", in.Host)
	if in.TLS == nil {
		setIfAbsent(h, "X-Forwarded-Proto", "http")
	} else {
		setIfAbsent(h, "X-Forwarded-Proto", "https")
	}
}

func setIfAbsent(h http.Header, name, value string) {
	if _, ok := h[name]; !ok {
		h[name] = []string{value}
	}
}

// CallerHeader returns a copy of the request's header that is fit to be sent to a function later: without what
// concerns the caller's connection, his Host, the fields that are reserved, and what describes the sending of this
// one body (Content-Length, Expect). X-Forwarded-* are set from the TCP peer. The values are those of the request: they are
// not to be changed.
func CallerHeader(in *http.Request) http.Header {
	h := make(http.Header, len(in.Header)+len(forwarding))
	maps.Copy(h, in.Header)
	RemoveHopByHop(h)
	removeReserved(h)
	for _, name := range []string{"Host", "Content-Length", "Expect"} {
		delete(h, name)
	}
	SetForwarded(h, in, false)
	return h
}

func removeReserved(h http.Header) {
	for name := range h {
		if ReservedFromOutside(name) {
			delete(h, name)
		}
	}
}

// checkHeader refuses fields that are not well-formed on the wire (RFC 9110 §5.1, §5.5): messages are published by
// anybody, and net/http takes "Content-Length : 1" in an answer for an ordinary field.
func checkHeader(h http.Header) error {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("header name %q is no token", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return fmt.Errorf("header %s: value %q has control characters", name, value)
			}
		}
	}
	return nil
}
