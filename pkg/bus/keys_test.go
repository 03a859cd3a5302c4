package bus

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

func ensureKeys(t *testing.T, b *Bus) *Bus {
	t.Helper()
	if err := b.EnsureKeys(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return b
}

func keyedCall(function, key, body string) Call {
	return Call{Function: function, Method: "POST", Path: "/", Body: []byte(body), IdempotencyKey: key}
}

func TestSameKeySameCallIsQueuedOnce(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	first, second := ensureKeys(t, connect(t, server)), connect(t, server)
	id := publish(t, first, keyedCall("f", "k", "body"))
	if got := publish(t, second, keyedCall("f", "k", "body")); got != id {
		t.Errorf("again: id %s, then %s", id, got)
	}
	d := pulled(t, consumer(t, first, "f"), 1)[0]
	if err := d.Done(within(t, patience)); err != nil || d.ID != id || len(d.Call.Header) != 0 || d.Call.IdempotencyKey != "" {
		t.Fatalf("%v; got %+v", err, d.Call)
	}
	if got := publish(t, second, keyedCall("f", "k", "body")); got != id {
		t.Errorf("after its end: id %s, then %s", id, got)
	}
	for name, change := range map[string]func(*Call){
		"body": func(c *Call) { c.Body = []byte("other") }, "method": func(c *Call) { c.Method = "PUT" }, "path": func(c *Call) { c.Path = "/x" },
		"query": func(c *Call) { c.Query = "x" },
	} {
		call := keyedCall("f", "k", "body")
		change(&call)
		if _, err := second.PublishCall(within(t, patience), call); !errors.Is(err, ErrKeyReused) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if count := depth(t, first, "f"); count != 0 {
		t.Errorf("%d calls are queued", count)
	}
}

// A key is the function's own: the same one for two functions queues both calls, whatever their bodies are.
func TestRow20KeysAreScopedByFunction(t *testing.T) {
	t.Parallel()
	b := ensureKeys(t, connect(t, bustest.Start(t)))
	ids := map[string]bool{}
	for _, call := range []Call{keyedCall("f", "k", "body"), keyedCall("g", "k", "body"), keyedCall("h", "k", "other"), keyedCall("f", "k2", "body")} {
		ids[publish(t, b, call)] = true
	}
	if f, g, h := depth(t, b, "f"), depth(t, b, "g"), depth(t, b, "h"); f != 2 || g != 1 || h != 1 || len(ids) != 4 {
		t.Errorf("queued: f %d, g %d, h %d; ids %v", f, g, h, ids)
	}
}

// Many calls with one key at the same time, of which half are another call: one is queued, all that are accepted have its id, and the
// other kind is refused to the last.
func TestRow20KeysAtTheSameTime(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	buses := []*Bus{ensureKeys(t, connect(t, server)), connect(t, server, groupCommit), connect(t, server)}
	for round := range 10 {
		checkKeyRace(t, buses, fmt.Sprintf("f%d", round), func(int) string { return "a" }, func(int) string { return "b" })
	}
}

func TestRow20KeysAtTheSameTimeOnThreeServers(t *testing.T) {
	t.Parallel()
	cluster := bustest.StartCluster(t, 3)
	var buses []*Bus
	for range 3 {
		b := connectOnly(t, cluster.URL(), func(c *Config) { c.Replicas = 3 })
		if err := b.EnsureCalls(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		buses = append(buses, ensureKeys(t, b))
	}
	for round := range 3 {
		checkKeyRace(t, buses, fmt.Sprintf("f%d", round), func(int) string { return "a" }, func(int) string { return "b" })
	}
}

// checkKeyRace publishes 50 calls with one key and two bodies at once.
func checkKeyRace(t *testing.T, buses []*Bus, function string, bodies ...func(int) string) {
	t.Helper()
	const callers = 50
	ids, errs, begin := make([]string, callers), make([]error, callers), make(chan struct{})
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			<-begin
			ids[i], errs[i] = buses[i%len(buses)].PublishCall(within(t, patience), keyedCall(function, "k", bodies[i%2](i)))
		})
	}
	close(begin)
	all.Wait()
	d := pulled(t, consumer(t, buses[0], function), 1)[0]
	if count := depth(t, buses[0], function); count != 1 {
		t.Fatalf("%d calls are queued", count)
	}
	for i := range callers {
		won := string(d.Call.Body) == bodies[i%2](i)
		if won && (errs[i] != nil || ids[i] != d.ID) || !won && !errors.Is(errs[i], ErrKeyReused) {
			t.Errorf("caller %d (won: %v) of call %s: %s, %v", i, won, d.ID, ids[i], errs[i])
		}
	}
}

// A process that dies between binding the key and queueing the call, or between that and keeping the id, leaves a key with which the same
// call is queued once and no other is.
func TestKeyAfterAKill(t *testing.T) {
	t.Parallel()
	b := ensureKeys(t, connect(t, bustest.Start(t)))
	for name, step := range map[string]func(k *keyed, record keyRecord){
		"bound": func(*keyed, keyRecord) {},
		"queued": func(k *keyed, _ keyRecord) {
			_, _ = b.publishAlone(within(t, patience), b.encode(k.call), "key-"+k.key)
		},
	} {
		call := keyedCall(name, "k", "body")
		k := &keyed{bus: b, kv: *b.keys.Load(), key: keyOf(name, "k"), call: call, hash: newCallHash(call)}
		if err := k.store(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		record := keyRecord{Call: fmt.Sprintf("%x", k.hash.Sum(nil))}
		if _, err := k.bind(within(t, patience), record); err != nil {
			t.Fatal(err)
		}
		step(k, record)
		if _, err := b.PublishCall(within(t, patience), keyedCall(name, "k", "other")); !errors.Is(err, ErrKeyReused) {
			t.Errorf("%s: another call: %v", name, err)
		}
		id := publish(t, b, keyedCall(name, "k", "body"))
		if again := publish(t, b, keyedCall(name, "k", "body")); again != id || depth(t, b, name) != 1 {
			t.Errorf("%s: ids %s and %s, %d queued", name, id, again, depth(t, b, name))
		}
	}
}

// A call that is refused for the moment can be repeated with its key.
func TestKeyOfARefusedCall(t *testing.T) {
	t.Parallel()
	b := ensureKeys(t, connect(t, bustest.Start(t), func(c *Config) { c.Settings.QueueLimit = 1 }))
	publish(t, b, Call{Function: "f"})
	if _, err := b.PublishCall(within(t, patience), keyedCall("f", "k", "body")); !errors.Is(err, ErrQueueFull) {
		t.Fatalf("a full queue: %v", err)
	}
	c := consumer(t, b, "f")
	if err := pulled(t, c, 1)[0].Done(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	id := publish(t, b, keyedCall("f", "k", "body"))
	if d := pulled(t, c, 1)[0]; d.ID != id {
		t.Errorf("id %s, delivered %s", id, d.ID)
	}
}

func TestKeysAreForgottenAfterTheirTime(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := ensureKeys(t, connect(t, server, func(c *Config) {
		c.Settings.IdempotencyTTL, c.Settings.PublishPatience = time.Second, 400*time.Millisecond // so is the window of the stream
	}))
	publisher := connectOnly(t, server.URL())
	id := publish(t, publisher, keyedCall("f", "k", "body"))
	eventually(t, "the key is free", func() bool {
		got, err := publisher.PublishCall(within(t, patience), keyedCall("f", "k", "other"))
		return err == nil && got != id
	})
	kv, err := b.js.KeyValue(within(t, patience), ensureKeys(t, connect(t, server)).KeysBucket()) // the default
	if err != nil {
		t.Fatal(err)
	}
	if status, err := kv.Status(within(t, patience)); err != nil || status.TTL() != 24*time.Hour {
		t.Errorf("TTL %v, %v", status.TTL(), err)
	}
}

// Without a server, or while nobody has made the bucket, the caller is told to come again; and after a restart keys still hold.
func TestKeysWaitForTheServer(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b, other := connect(t, server, func(c *Config) { c.Settings.PublishPatience = quiet }), connectOnly(t, server.URL())
	if _, err := b.PublishCall(within(t, patience), keyedCall("f", "k", "body")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a bucket: %v", err)
	}
	ensureKeys(t, b)
	id := publish(t, other, keyedCall("f", "k", "body"))
	server.Stop()
	if _, err := b.PublishCall(within(t, patience), keyedCall("f", "k", "body")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a server: %v", err)
	}
	server.Start()
	awaitConnection(t, other)
	eventually(t, "the key holds", func() bool {
		got, err := other.PublishCall(within(t, patience), keyedCall("f", "k", "body"))
		return err == nil && got == id
	})
}

// Any text can be a key.
func TestStrangeKeys(t *testing.T) {
	t.Parallel()
	b := ensureKeys(t, connect(t, bustest.Start(t)))
	ids := map[string]bool{}
	for _, key := range []string{"*", ">", "a b", "é", "\x00", strings.Repeat("k", 10_000), "$KV.x", "."} {
		id := publish(t, b, keyedCall("f", key, "body"))
		if publish(t, b, keyedCall("f", key, "body")) != id || ids[id] {
			t.Errorf("%.20q: id %s", key, id)
		}
		ids[id] = true
	}
	if _, err := b.js.KeyValue(within(t, patience), b.KeysBucket()); errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Error(err)
	}
}
