package ops

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func TestMemoryOfTheContainer(t *testing.T) {
	tests := []struct {
		name, file, text string
		want             int64
		ok               bool
	}{
		{"v2", memoryFiles[0], "268435456\n", 256 << 20, true},
		{"v2 without a limit", memoryFiles[0], "max\n", 0, false},
		{"v1", memoryFiles[1], "134217728\n", 128 << 20, true},
		{"v1 without a limit", memoryFiles[1], "9223372036854771712\n", 0, false},
		{"no cgroup", "etc/hosts", "", 0, false},
	}
	for _, test := range tests {
		limit, ok := containerMemory(fstest.MapFS{test.file: {Data: []byte(test.text)}})
		if ok != test.ok || ok && limit != test.want {
			t.Errorf("%s: %d %t, want %d %t", test.name, limit, ok, test.want, test.ok)
		}
	}
}

// The block of the floor counts for the limit though it takes no memory: a small container would collect without end.
func TestHeapFloorRaisesTheMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(64 << 20)
	defer debug.SetMemoryLimit(before)
	during := int64(0)
	if err := WithHeapFloor(func() error { during = debug.SetMemoryLimit(-1); return nil }); err != nil {
		t.Fatal(err)
	}
	if during != 64<<20+heapFloor || debug.SetMemoryLimit(-1) != 64<<20 {
		t.Errorf("limit %d during the run and %d after it", during, debug.SetMemoryLimit(-1))
	}
	debug.SetMemoryLimit(math.MaxInt64)
	_ = WithHeapFloor(func() error { during = debug.SetMemoryLimit(-1); return nil })
	if during != math.MaxInt64 {
		t.Errorf("a limit %d where there was none", during)
	}
}
