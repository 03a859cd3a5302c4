package bus

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
)

// insideReader keeps what a watch tells.
type insideReader struct {
	mu       sync.Mutex
	inside   map[netip.Addr]function.Insider // guarded by mu
	revision uint64                          // guarded by mu
}

func (r *insideReader) Apply(address netip.Addr, who function.Insider) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside[address] = who
}

func (r *insideReader) Remove(address netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inside, address)
}

func (r *insideReader) Applied(revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision = revision
}

func (r *insideReader) has(revision uint64, inside map[netip.Addr]function.Insider) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.revision == revision && maps.Equal(r.inside, inside)
	}
}

// watchInside follows the bucket until the test ends.
func watchInside(t *testing.T, inside *Inside) *insideReader {
	t.Helper()
	reader := &insideReader{inside: map[netip.Addr]function.Insider{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- inside.Watch(ctx, reader) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	return reader
}

func openInside(t *testing.T, b *Bus) *Inside {
	t.Helper()
	inside, err := b.OpenInside(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	return inside
}

func TestInsideIsToldAndKept(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	reading := make(chan *Inside)
	go func() { // it waits for who makes the bucket
		inside, err := connectOnly(t, server.URL()).AwaitInside(within(t, patience))
		if err != nil {
			t.Error(err)
		}
		reading <- inside
	}()
	inside := openInside(t, connectOnly(t, server.URL()))
	reader := watchInside(t, next(t, reading))
	want := map[netip.Addr]function.Insider{}
	revision := uint64(0)
	put := func(address string, who function.Insider) {
		t.Helper()
		var err error
		if revision, err = inside.Put(within(t, patience), netip.MustParseAddr(address), who); err != nil {
			t.Fatal(err)
		}
		want[netip.MustParseAddr(address).Unmap()] = who
	}
	put("10.0.0.1", function.Insider{Kind: function.InsiderFunction, Name: "f", Replica: "f-0"})
	put("::ffff:10.0.0.2", function.Insider{Kind: function.InsiderJob, Name: "j"})
	put("fd00::1", function.Insider{Kind: function.InsiderSluice, Name: "gateway"})
	eventually(t, "all are told", reader.has(revision, want))
	if _, err := inside.kv.Put(within(t, patience), "no-address", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	eventually(t, "the loss is noticed", func() bool { return inside.bus.Connected() != nil })
	server.Start()
	awaitConnection(t, inside.bus)
	put("10.0.0.1", function.Insider{Kind: function.InsiderFunction, Name: "g"})
	revision, err := inside.Delete(within(t, patience), netip.MustParseAddr("fd00:0::0001"))
	if err != nil {
		t.Fatal(err)
	}
	delete(want, netip.MustParseAddr("fd00::1"))
	eventually(t, "changes are told after a restart", reader.has(revision, want))
	loaded, err := inside.Load(within(t, patience))
	if err != nil || !maps.Equal(loaded, want) {
		t.Errorf("loaded %v, %v", loaded, err)
	}
	if _, err := inside.Put(within(t, patience), netip.Addr{}, function.Insider{}); err == nil {
		t.Error("no address was stored")
	}
}

// The announced revision tells a reader whose watch the server has lost, as for the functions.
func TestStaleInsideNoticesByTheAnnouncedRevision(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	inside := openInside(t, b)
	reader := watchInside(t, openInside(t, connectOnly(t, server.URL())))
	address, who := netip.MustParseAddr("10.0.0.1"), function.Insider{Kind: function.InsiderJob, Name: "j"}
	revision, err := inside.Put(within(t, patience), address, who)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", reader.has(revision, map[netip.Addr]function.Insider{address: who}))
	cutWatches(t, b, b.InsideBucket())
	if revision, err = inside.Delete(within(t, patience), address); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader is current", func() bool {
		if err := b.AnnounceInside(revision); err != nil {
			t.Fatal(err)
		}
		return reader.has(revision, map[netip.Addr]function.Insider{})()
	})
}

func TestAddressKeys(t *testing.T) {
	keys := map[string]string{}
	for address, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "::ffff:10.0.0.1": "10.0.0.1", "::1": "0000_0000_0000_0000_0000_0000_0000_0001",
		"fe80::1%eth0": "fe80_0000_0000_0000_0000_0000_0000_0001", "2001:DB8::A": "2001_0db8_0000_0000_0000_0000_0000_000a",
	} {
		parsed := netip.MustParseAddr(address)
		key := addressKey(parsed)
		back, err := parseAddressKey(key)
		if key != want || err != nil || back != parsed.Unmap().WithZone("") {
			t.Errorf("%s: key %s, back %s, %v", address, key, back, err)
		}
		keys[key] = address
	}
	for _, key := range []string{"", "10.0.0", "10.0.0.01", "x", "__1", "0000_0000_0000_0000_0000_ffff_0a00_0001", "FE80_0000_0000_0000_0000_0000_0000_0001"} {
		if address, err := parseAddressKey(key); err == nil {
			t.Errorf("%q is taken for %s, not for one of %v", key, address, slices.Sorted(maps.Keys(keys)))
		}
	}
}
