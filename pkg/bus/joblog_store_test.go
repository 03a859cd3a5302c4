package bus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

const logName = "j/run-1/pod/container"

func putLog(t testing.TB, b *Bus, name string, data []byte) {
	t.Helper()
	size, err := b.PutLog(within(t, patience), name, bytes.NewReader(data), int64(len(data))+1)
	if err != nil || size != int64(len(data)) {
		t.Fatalf("%d bytes are stored of %d: %v", size, len(data), err)
	}
}

// getLog reads a log whole; lost says that it is not there.
func getLog(t testing.TB, b *Bus, name string) (data []byte, lost bool) {
	t.Helper()
	r, err := b.GetLog(within(t, patience), name)
	if errors.Is(err, ErrNoLog) {
		return nil, true
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err = io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return data, false
}

// logMessages is how many messages the object store of logs has.
func logMessages(t testing.TB, b *Bus) uint64 {
	t.Helper()
	stream, err := b.js.Stream(within(t, patience), "OBJ_sluice-joblogs")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func TestLogIsKept(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	for i, data := range [][]byte{{}, []byte("a line\n"), randomBytes(objectChunk, 1), randomBytes(3*objectChunk+5, 2)} {
		name := fmt.Sprintf("j/%d/pod with spaces/ü", i)
		if _, lost := getLog(t, b, name); !lost {
			t.Errorf("%s is there before", name)
		}
		putLog(t, b, name, data)
		if got, lost := getLog(t, b, name); lost || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d", name, len(got), len(data))
		}
		for range 2 {
			if err := b.DeleteLog(within(t, patience), name); err != nil {
				t.Fatal(err)
			}
		}
		if _, lost := getLog(t, b, name); !lost {
			t.Errorf("%s is there after", name)
		}
	}
	if n := logMessages(t, b); n > 0 {
		t.Errorf("%d messages are left", n)
	}
}

// It is an object as any client of NATS knows it.
func TestKeptLogIsAnObject(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	want := randomBytes(2*objectChunk+1, 1)
	putLog(t, b, logName, want)
	store, err := b.js.ObjectStore(within(t, patience), "sluice-joblogs")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := store.GetBytes(within(t, patience), logName); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	if err := store.Delete(within(t, patience), logName); err != nil {
		t.Fatal(err)
	}
	if _, lost := getLog(t, b, logName); !lost {
		t.Error("what somebody else has removed is there")
	}
	putLog(t, b, logName, want)
	if got, lost := getLog(t, b, logName); lost || !bytes.Equal(got, want) {
		t.Error("it cannot be stored again")
	}
	stream, err := b.js.Stream(within(t, patience), "OBJ_sluice-joblogs")
	if err != nil || stream.CachedInfo().Config.MaxAge != logsTTL {
		t.Errorf("the store is %+v, %v", stream.CachedInfo().Config, err)
	}
}

// No more is kept than the limit, and no more is read for it.
func TestLimitOfAKeptLog(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	output := newEndless()
	const limit = objectChunk + 100
	size, err := b.PutLog(within(t, patience), logName, output, limit)
	if err != nil || size != limit || output.read.Load() > 2*objectChunk {
		t.Errorf("%d bytes are kept, %d were read: %v", size, output.read.Load(), err)
	}
	if got, _ := getLog(t, b, logName); len(got) != limit {
		t.Errorf("%d bytes are there", len(got))
	}
}

// What is stored under a name replaces what was there, and leaves nothing of it; of several at a time one is there, whole.
func TestKeptLogIsReplaced(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := jobsBus(t, server.URL())
	putLog(t, b, logName, randomBytes(3*objectChunk, 1))
	second := randomBytes(2*objectChunk, 2)
	putLog(t, b, logName, second)
	if got, lost := getLog(t, b, logName); lost || !bytes.Equal(got, second) {
		t.Errorf("%d bytes are there", len(got))
	}
	if n := logMessages(t, b); n != 3 {
		t.Errorf("%d messages are there", n)
	}
	var all sync.WaitGroup
	for i := range 6 {
		other := jobsBus(t, server.URL(), patient)
		all.Go(func() {
			if _, err := other.PutLog(within(t, unhurried), logName, bytes.NewReader(randomBytes(objectChunk+i, uint64(i))), 1<<30); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got, lost := getLog(t, b, logName)
	if i := len(got) - objectChunk; lost || i < 0 || i > 5 || !bytes.Equal(got, randomBytes(objectChunk+i, uint64(i))) {
		t.Errorf("%d bytes are there, which nobody has stored so", len(got))
	}
	eventually(t, "nothing of the others is left", func() bool { return logMessages(t, b) == 3 })
}

// A log that is cut off is not there, and what was there before still is; nobody sees the parts of one that is being stored.
func TestLogThatIsCutOff(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	putLog(t, b, logName, []byte("before"))
	cut := &interrupted{io.MultiReader(bytes.NewReader(randomBytes(3*objectChunk, 1)), iotestError("the node is gone")), 2 * objectChunk, func() {
		if got, lost := getLog(t, b, logName); lost || string(got) != "before" {
			t.Errorf("meanwhile %d bytes are there", len(got))
		}
		if n := logMessages(t, b); n < 3 {
			t.Errorf("nothing was stored yet: %d messages", n)
		}
	}}
	if _, err := b.PutLog(within(t, patience), logName, cut, 1<<30); err == nil || !strings.Contains(err.Error(), "the node is gone") {
		t.Errorf("got %v", err)
	}
	if got, lost := getLog(t, b, logName); lost || string(got) != "before" {
		t.Errorf("%d bytes are there", len(got))
	}
	if n := logMessages(t, b); n != 2 {
		t.Errorf("%d messages are left", n)
	}
}

// A process that is killed while it stores a log leaves nothing that anybody sees.
func TestLogOfAProcessThatIsKilled(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := jobsBus(t, server.URL())
	killed := jobsBus(t, server.URL(), func(c *Config) { c.Settings.PublishPatience = time.Second })
	endsAt := &interrupted{bytes.NewReader(randomBytes(4*objectChunk, 1)), 2 * objectChunk, killed.conn.Close}
	if _, err := killed.PutLog(within(t, patience), logName, endsAt, 1<<30); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if n := logMessages(t, b); n == 0 {
		t.Error("nothing was stored before")
	}
	if _, lost := getLog(t, b, logName); !lost {
		t.Error("a part of it is there")
	}
	want := []byte("of the next one")
	putLog(t, b, logName, want)
	if got, lost := getLog(t, b, logName); lost || !bytes.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Storing and reading bear with a server that is restarted, and with answers that are lost.
func TestLogIsKeptAcrossRestarts(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	proxy := startDeafProxy(t, server)
	b := jobsBus(t, proxy.url(), patient)
	restart := func() {
		server.Stop()
		server.Start()
	}
	deaf := func() { proxy.deaf.Store(true) }
	want := randomBytes(8*objectChunk, 5)
	for i, disturb := range []func(){restart, deaf} {
		name := fmt.Sprint(logName, i)
		source := &interrupted{bytes.NewReader(want), 3 * objectChunk, disturb}
		if _, err := b.PutLog(within(t, unhurried), name, source, 1<<30); err != nil {
			t.Fatal(i, err)
		}
		deaf()
		if _, err := b.PutLog(within(t, unhurried), name+"small", strings.NewReader("small"), 1<<30); err != nil {
			t.Fatal(i, err)
		}
		r, err := b.GetLog(within(t, unhurried), name)
		if err != nil {
			t.Fatal(i, err)
		}
		got, err := io.ReadAll(&interrupted{r, 2 * objectChunk, disturb})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d: %d bytes of %d, or others: %v", i, len(got), len(want), err)
		}
	}
	if n := logMessages(t, b); n != 2*(8+1)+2*2 {
		t.Errorf("%d messages are there", n)
	}
}

// What cannot be read any more is said to be gone.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL())
	putLog(t, b, logName, randomBytes(3*objectChunk, 1))
	info, _, err := b.logs().look(within(t, patience), logName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.logs().purge(within(t, patience), b.logs().chunks(info.NUID), 2); err != nil {
		t.Fatal(err)
	}
	r, err := b.GetLog(within(t, patience), logName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, ErrNoLog) {
		t.Errorf("got %v", err)
	}
	if _, err := b.js.Publish(within(t, patience), b.logs().meta(logName), []byte("no JSON"), jetstream.WithMsgID("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.GetLog(within(t, patience), logName); !errors.Is(err, ErrNoLog) {
		t.Errorf("got %v", err)
	}
	putLog(t, b, logName, []byte("again"))
	if got, lost := getLog(t, b, logName); lost || string(got) != "again" {
		t.Errorf("got %q", got)
	}
}

// Output has its own share of the storage: it takes none from calls, what does not fit leaves nothing behind, and what was kept before stays.
func TestLogsHaveTheirShareOfTheStorage(t *testing.T) {
	t.Parallel()
	b := jobsBus(t, bustest.Start(t).URL(), func(c *Config) { c.Settings.StorageLimit = 16 << 20 })
	part := bytes.Repeat([]byte("x"), 600<<10)
	putLog(t, b, "j/run-1/pod/container", part)
	before := logMessages(t, b)
	if size, err := b.PutLog(within(t, patience), "j/run-2/pod/container", bytes.NewReader(part), 1<<20); err == nil {
		t.Errorf("a second one has room too: %d bytes", size)
	}
	eventually(t, "nothing is left of it", func() bool { return logMessages(t, b) == before })
	if data, lost := getLog(t, b, "j/run-1/pod/container"); lost || !bytes.Equal(data, part) {
		t.Errorf("of the first one %d bytes are left", len(data))
	}
}
