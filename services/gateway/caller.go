package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// caller is who sent a request, as far as it can be known.
type caller struct {
	// addr is not valid if a trusted proxy does not say for whom it speaks.
	addr netip.Addr
	// inside says that private functions may be called.
	inside bool
}

// callerOf looks at the request's listener, its TCP peer and, if that is a trusted proxy, at X-Forwarded-For. No other header has a
// say.
func (g *Gateway) callerOf(r *http.Request) caller {
	addr := forwardedFor(peerOf(r), r.Header["X-Forwarded-For"], g.config.TrustedProxies)
	return caller{addr: addr, inside: cameInside(r) || g.insiders.has(addr)}
}

// isInside reports whether the caller of r is inside.
func (g *Gateway) isInside(r *http.Request) bool { return g.callerOf(r).inside }

// callerIP is the address of the caller of r; it is not valid if it is not known.
func (g *Gateway) callerIP(r *http.Request) netip.Addr { return g.callerOf(r).addr }

// trustsPeer reports whether the TCP peer of r is a proxy whose X-Forwarded-* fields are believed.
func (g *Gateway) trustsPeer(r *http.Request) bool {
	return len(g.config.TrustedProxies) > 0 && trusted(peerOf(r), g.config.TrustedProxies)
}

// peerOf is the address of the TCP peer.
func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// forwardedFor is the address of the caller behind peer. Each trusted proxy has added the address of its own peer at the right, so it is the
// first one from there that is not a trusted proxy; what stands left of it was said by that caller. It is not valid if there is none
// such, or if one on the way is no address.
func forwardedFor(peer netip.Addr, fields []string, proxies []Range) netip.Addr {
	if len(fields) == 0 || !trusted(peer, proxies) {
		return peer
	}
	rest := strings.Join(fields, ",")
	for more := true; more; {
		var hop string
		if at := strings.LastIndexByte(rest, ','); at >= 0 {
			rest, hop = rest[:at], rest[at+1:]
		} else {
			hop, more = rest, false
		}
		addr, err := netip.ParseAddr(strings.Trim(hop, " \t"))
		if err != nil || addr.Zone() != "" {
			return netip.Addr{}
		}
		if addr = addr.Unmap(); !trusted(addr, proxies) {
			return addr
		}
	}
	return netip.Addr{}
}

func trusted(addr netip.Addr, proxies []Range) bool {
	for _, r := range proxies {
		if r.prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Range is the value of a flag: a range of addresses such as 10.0.0.0/8, or a single one.
type Range struct{ prefix netip.Prefix }

// UnmarshalText reads a range. One that has every address is refused: then anybody could say to be anybody.
func (r *Range) UnmarshalText(text []byte) error {
	prefix, err := parseRange(string(text))
	if err != nil {
		return fmt.Errorf("%q is no range of addresses, such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32: %w", text, err)
	}
	if prefix.Bits() == 0 {
		return fmt.Errorf("%q has every address: name those of the proxies, such as 10.1.2.0/24", text)
	}
	r.prefix = prefix
	return nil
}

// String is the range in the usual form.
func (r Range) String() string { return r.prefix.String() }

func parseRange(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return unmapPrefix(prefix).Masked(), nil
}

// unmapPrefix is for ranges of IPv4 in the form of IPv6: addresses are compared without it.
func unmapPrefix(prefix netip.Prefix) netip.Prefix {
	const mapped = net.IPv6len*8 - net.IPv4len*8
	if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= mapped {
		return netip.PrefixFrom(addr.Unmap(), prefix.Bits()-mapped)
	}
	return prefix
}
