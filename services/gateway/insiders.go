package gateway

import (
	"context"
	"net/netip"
	"sync"

	"github.com/sluicefaas/sluice/pkg/function"
)

// insiders are the addresses of those whose calls come from inside, as the scaler shares them. It is a bus.InsideReader.
type insiders struct {
	mu  sync.RWMutex
	who map[netip.Addr]function.Insider // guarded by mu
	// replicas are those of functions that can be called, by function; ready counts them by address. They are in the bucket as well, but maybe a
	// moment later, and a replica may call others as soon as it is called.
	replicas map[string][]netip.Addr // guarded by mu
	ready    map[netip.Addr]int      // guarded by mu
}

func newInsiders() *insiders {
	return &insiders{who: map[netip.Addr]function.Insider{}, replicas: map[string][]netip.Addr{}, ready: map[netip.Addr]int{}}
}

// setReplicas takes the endpoints of a function.
func (i *insiders) setReplicas(name string, endpoints []function.Endpoint) {
	var addresses []netip.Addr
	for _, e := range endpoints {
		if at, err := netip.ParseAddrPort(e.Address); err == nil && e.Inside {
			addresses = append(addresses, at.Addr().Unmap())
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, address := range addresses {
		i.ready[address]++
	}
	for _, address := range i.replicas[name] {
		if i.ready[address]--; i.ready[address] == 0 {
			delete(i.ready, address)
		}
	}
	if i.replicas[name] = addresses; len(addresses) == 0 {
		delete(i.replicas, name)
	}
}

// Apply takes who is at an address.
func (i *insiders) Apply(addr netip.Addr, who function.Insider) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.who[addr.Unmap()] = who
}

// Remove forgets an address.
func (i *insiders) Remove(addr netip.Addr) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.who, addr.Unmap())
}

// Applied is of no interest: an address that is not known yet is outside.
func (i *insiders) Applied(uint64) {}

func (i *insiders) has(addr netip.Addr) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	_, ok := i.who[addr]
	return ok || i.ready[addr] > 0
}

// followInside keeps the insiders up to date until ctx ends. As long as they cannot be read, nobody is inside by his address, and public
// functions are served all the same.
func (g *Gateway) followInside(ctx context.Context) {
	bucket, err := g.deps.Bus.AwaitInside(ctx)
	if err == nil {
		err = bucket.Watch(ctx, g.insiders)
	}
	if err != nil && ctx.Err() == nil {
		g.deps.Logger.Warn().Err(err).Msg("who is inside cannot be read: only the listeners of --inside-listen serve private functions")
	}
}
