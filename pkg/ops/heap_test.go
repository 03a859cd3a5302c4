package ops_test

import (
	"runtime"
	"testing"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// The collector must not start before the garbage is as large as the floor.
func TestHeapFloorSparesCollections(t *testing.T) {
	collections := func(run func()) uint32 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		run()
		runtime.ReadMemStats(&after)
		return after.NumGC - before.NumGC
	}
	var kept []byte
	garbage := func() {
		for range 40 {
			kept = make([]byte, 1<<20)
		}
	}
	without := collections(garbage)
	with := uint32(0)
	if err := ops.WithHeapFloor(func() error { with = collections(garbage); return nil }); err != nil {
		t.Fatal(err)
	}
	if with >= without || with > 1 {
		t.Errorf("40 MB of garbage took %d collections with the floor and %d without", with, without)
	}
	runtime.KeepAlive(kept)
}
