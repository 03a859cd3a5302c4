package ops

import (
	"math"
	"runtime"
	"runtime/debug"
)

// heapFloor is how large the live heap is made to look to the garbage collector, in bytes.
const heapFloor = 128 << 20

// WithHeapFloor runs run with a heap that looks larger than it is. A daemon of ours has 10 to 20 MB alive and makes garbage
// with every call, so the collector, which starts when the heap has doubled, would run many times a second. A block that is never
// touched takes no memory of the machine; garbage may grow by about its size. Unlike a higher GOGC it adds the same
// to a large heap as to a small one. A memory limit (FitMemory) is raised by as much meanwhile, because it counts the block.
func WithHeapFloor(run func() error) error {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64-heapFloor {
		debug.SetMemoryLimit(limit + heapFloor)
		defer debug.SetMemoryLimit(limit)
	}
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(&floor)
	return run()
}
