package local

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

const (
	// addressPeriod is how often a dependency that runs elsewhere is connected to.
	addressPeriod  = time.Second
	addressTimeout = time.Second
	// lookupPeriod is how often the names of those that run elsewhere are looked up: a container may come back with another address.
	lookupPeriod  = 5 * time.Second
	lookupTimeout = 2 * time.Second
)

// address follows a dependency that runs elsewhere. The cluster's mutex guards it.
type address struct {
	probed  string // host:port, empty while nothing is probed
	stop    context.CancelFunc
	reached bool
}

// followAddress probes the address of the workload if it is a dependency that runs elsewhere, since nobody else finds out
// whether it does. It is called with mu held.
func (c *Cluster) followAddress(set *replicaSet) {
	if set.workload.URL != "" {
		c.lookAgain()
	}
	wanted := ""
	if set.workload.Watched && !set.removed {
		wanted = set.workload.URL
	}
	if wanted == set.address.probed {
		return
	}
	if set.address.stop != nil {
		set.address.stop()
	}
	set.address = address{probed: wanted}
	if wanted == "" {
		return
	}
	var ctx context.Context
	ctx, set.address.stop = context.WithCancel(c.watch)
	prober := newProber(Probe{Timeout: addressTimeout}, wanted, nil)
	c.lives.Go(func() { c.probeAddress(ctx, set, prober) })
}

func (c *Cluster) probeAddress(ctx context.Context, set *replicaSet, prober prober) {
	for {
		reached := prober.check(ctx) == nil
		c.mu.Lock()
		if ctx.Err() == nil && set.address.reached != reached {
			set.address.reached = reached
			c.changed(set)
		}
		c.mu.Unlock()
		if !pause(ctx, addressPeriod) {
			return
		}
	}
}

// followAddresses finds out, until ctx ends, from which addresses the trusted functions that run elsewhere call.
func (c *Cluster) followAddresses(ctx context.Context) {
	found := map[string][]netip.Addr{} // by host, as of the last answer
	reported := map[netip.Addr]function.Insider{}
	for {
		hosts := c.hosts()
		maps.DeleteFunc(found, func(host string, _ []netip.Addr) bool { _, used := hosts[host]; return !used })
		for host := range hosts {
			if addresses, known := lookup(ctx, host); known {
				found[host] = addresses
			}
		}
		if now := insiders(hosts, found, ownAddresses()); ctx.Err() == nil && !maps.Equal(now, reported) {
			reported = now
			c.setInside(maps.Clone(now))
		}
		select {
		case <-ctx.Done():
			return
		case <-c.moved:
		case <-time.After(lookupPeriod):
		}
	}
}

// lookAgain has the addresses looked up at once.
func (c *Cluster) lookAgain() {
	select {
	case c.moved <- struct{}{}:
	default: // it will be done already
	}
}

// hosts returns the hosts of the trusted functions that run elsewhere, and who is there.
func (c *Cluster) hosts() map[string]function.Insider {
	c.mu.Lock()
	defer c.mu.Unlock()
	hosts := map[string]function.Insider{}
	for name, set := range c.sets {
		if set.removed || set.workload.URL == "" || !set.workload.trusted() {
			continue
		}
		if host, _, err := net.SplitHostPort(set.workload.URL); err == nil {
			hosts[host] = function.Insider{Kind: function.InsiderFunction, Name: name, Replica: name + "-0"}
		}
	}
	return hosts
}

// lookup is false where nothing was learned: what was known holds.
func lookup(ctx context.Context, host string) ([]netip.Addr, bool) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address}, true
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var failed *net.DNSError
	return addresses, err == nil || errors.As(err, &failed) && failed.IsNotFound
}

// insiders leaves out the addresses of this machine: anybody on it calls from there.
func insiders(hosts map[string]function.Insider, found map[string][]netip.Addr, own map[netip.Addr]bool) map[netip.Addr]function.Insider {
	inside := map[netip.Addr]function.Insider{}
	for host, addresses := range found {
		for _, address := range addresses {
			address = address.Unmap().WithZone("")
			if address.IsLoopback() || address.IsUnspecified() || address.IsMulticast() || own[address] {
				continue
			}
			inside[address] = hosts[host]
		}
	}
	return inside
}

func ownAddresses() map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	addresses, _ := net.InterfaceAddrs() // without them, only loopback is left out
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil {
			own[prefix.Addr().Unmap().WithZone("")] = true
		}
	}
	return own
}

func (c *Cluster) setInside(inside map[netip.Addr]function.Insider) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside = inside
	c.poke()
}

func (c *Cluster) takeInside() map[netip.Addr]function.Insider {
	c.mu.Lock()
	defer c.mu.Unlock()
	inside := c.inside
	c.inside = nil
	return inside
}
