package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/function"
)

// Inside is the bucket in which the scaler shares the addresses whose callers count as inside.
type Inside struct {
	bus *Bus
	kv  jetstream.KeyValue
}

// OpenInside makes the bucket if it is not there. It is for the scaler.
func (b *Bus) OpenInside(ctx context.Context) (*Inside, error) {
	kv, err := b.ensureBucket(ctx, jetstream.KeyValueConfig{
		Bucket: b.InsideBucket(), Description: "Who is at each address whose callers count as inside",
	})
	if err != nil {
		return nil, err
	}
	return &Inside{bus: b, kv: kv}, nil
}

// AwaitInside waits for the bucket, which the scaler makes, for as long as ctx lasts. It is for those who read it.
func (b *Bus) AwaitInside(ctx context.Context) (*Inside, error) {
	kv, err := b.awaitBucket(ctx, b.InsideBucket())
	if err != nil {
		return nil, err
	}
	return &Inside{bus: b, kv: kv}, nil
}

// Put says who is at the address, and returns the bucket's new revision.
func (i *Inside) Put(ctx context.Context, address netip.Addr, who function.Insider) (revision uint64, err error) {
	if !address.IsValid() {
		return 0, errors.New("store who is inside: the address is none")
	}
	revision, err = putJSON(ctx, i.kv, addressKey(address), who)
	if err != nil {
		return 0, fmt.Errorf("store who is at %s: %w", address, err)
	}
	return revision, nil
}

// Delete says that nobody is at the address any more, and returns the bucket's new revision.
func (i *Inside) Delete(ctx context.Context, address netip.Addr) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// What the library's Delete does, which does not say the revision.
	msg := nats.NewMsg(valueSubject(i.bus.InsideBucket(), addressKey(address)))
	msg.Header.Set(headerOperation, operationDelete)
	ack, err := i.bus.js.PublishMsg(ctx, msg)
	if err != nil {
		return 0, fmt.Errorf("remove who is at %s: %w", address, err)
	}
	return ack.Sequence, nil
}

// InsideReader is told what the bucket holds, from one goroutine.
type InsideReader interface {
	Apply(netip.Addr, function.Insider)
	Remove(netip.Addr)
	// Applied says that everything up to the revision has been told.
	Applied(revision uint64)
}

// Watch tells reader every address and each change until ctx ends, as Functions.Watch does.
func (i *Inside) Watch(ctx context.Context, reader InsideReader) error {
	return i.bus.watch(ctx, watched{
		what: "who is inside", kv: i.kv, announced: i.bus.InsideRevisionSubject(),
		apply: func(key string, value []byte, _ uint64) error {
			var who function.Insider
			address, err := parseAddressKey(key)
			if err := errors.Join(err, json.Unmarshal(value, &who)); err != nil {
				return err
			}
			reader.Apply(address, who)
			return nil
		},
		remove: func(key string) {
			if address, err := parseAddressKey(key); err == nil {
				reader.Remove(address)
			}
		},
		applied: reader.Applied,
	})
}

// Load returns who is at each address.
func (i *Inside) Load(ctx context.Context) (map[netip.Addr]function.Insider, error) {
	var found *insideLoader
	err := loadAll(ctx, func(ctx context.Context, done func()) error {
		found = &insideLoader{map[netip.Addr]function.Insider{}, done}
		return i.Watch(ctx, found)
	})
	if err != nil {
		return nil, fmt.Errorf("read who is inside: %w", err)
	}
	return found.inside, nil
}

// insideLoader collects what a watch tells first, then ends it.
type insideLoader struct {
	inside map[netip.Addr]function.Insider
	done   func()
}

func (l *insideLoader) Apply(address netip.Addr, who function.Insider) { l.inside[address] = who }
func (l *insideLoader) Remove(address netip.Addr)                      { delete(l.inside, address) }
func (l *insideLoader) Applied(uint64)                                 { l.done() }

// AnnounceInside tells readers of the inside bucket how new it is.
func (b *Bus) AnnounceInside(revision uint64) error {
	if err := b.sendJSON(b.InsideRevisionSubject(), revision); err != nil {
		return fmt.Errorf("announce the revision of who is inside: %w", err)
	}
	return nil
}

// addressKey is the key of an address: a key has no colons, so those of IPv6 become _. An IPv4 address inside IPv6 is the IPv4 address.
func addressKey(address netip.Addr) string {
	address = address.Unmap().WithZone("")
	return strings.ReplaceAll(address.StringExpanded(), ":", "_")
}

func parseAddressKey(key string) (netip.Addr, error) {
	address, err := netip.ParseAddr(strings.ReplaceAll(key, "_", ":"))
	if err != nil || addressKey(address) != key {
		return netip.Addr{}, fmt.Errorf("key %q is not that of an address", key)
	}
	return address, nil
}
