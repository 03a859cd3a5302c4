package upstream

import (
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// The functions here look at each field that is there rather than delete each that must not be: a header has few fields, and to
// look for one that is absent costs as much as to find one.

// isHopByHop reports whether the field, in canonical form, concerns one connection only (RFC 9110 §7.6.1): those of the
// standard, of its predecessors, and Proxy-Connection, which some clients still send.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// isForwarding reports whether the field says for whom a proxy speaks.
func isForwarding(name string) bool {
	switch name {
	case "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto":
		return true
	}
	return false
}

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
	for name := range h {
		if isHopByHop(name) {
			delete(h, name)
		}
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
}

// ReservedFromOutside reports whether the field is one that only Sluice may send to a function: Sluice-*,
// X-SlimFaas-Job* and the three fields of an attempt, in any case. Nats-* fields are the caller's own.
func ReservedFromOutside(name string) bool {
	if name == "" || name[0]|0x20 != 's' && name[0]|0x20 != 'x' { // 0x20 makes a letter lower case
		return false
	}
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
	for name := range h {
		if isForwarding(name) {
			delete(h, name)
		}
	}
	if trusted {
		copyForwarding(h, in.Header)
	}
	if peer, _, err := net.SplitHostPort(in.RemoteAddr); err == nil {
		h["X-Forwarded-For"] = []string{strings.Join(append(h["X-Forwarded-For"], peer), ", ")}
	}
	setIfAbsent(h, "X-Forwarded-Host", in.Host)
	if in.TLS == nil {
		setIfAbsent(h, "X-Forwarded-Proto", "http")
	} else {
		setIfAbsent(h, "X-Forwarded-Proto", "https")
	}
}

func copyForwarding(to, from http.Header) {
	for name, values := range from {
		if isForwarding(name) {
			to[name] = slices.Clone(values)
		}
	}
}

func setIfAbsent(h http.Header, name, value string) {
	if _, ok := h[name]; !ok {
		h[name] = []string{value}
	}
}

// CallerHeader returns a copy of the request's header that is fit to be sent to a function later: without what
// concerns the caller's connection, his Host, the fields that are reserved, and what describes the sending of this
// one body (Content-Length, Expect). X-Forwarded-* are set from the TCP peer; the caller's own are kept if his peer is
// trusted, as SetForwarded does. The values are those of the request: they are not to be changed.
func CallerHeader(in *http.Request, trusted bool) http.Header {
	const ours = 5 // X-Forwarded-*, and what a queued call gets besides
	h := make(http.Header, len(in.Header)+ours)
	for name, values := range in.Header {
		if !describesSending(name) && !ReservedFromOutside(name) {
			h[name] = values
		}
	}
	RemoveHopByHop(h)
	SetForwarded(h, in, trusted)
	return h
}

// describesSending reports whether the field is about the sending of this one request.
func describesSending(name string) bool {
	return name == "Host" || name == "Content-Length" || name == "Expect"
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
