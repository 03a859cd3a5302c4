package ops

import (
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// memoryShare is how much of the container's memory the Go runtime may take before it collects at any cost. The rest is
// for what it does not count: the binary, and the system's part of connections.
const memoryShare = 0.9

// memoryFiles hold the limit of the container that a process runs in, below /: cgroup v2, then v1.
var memoryFiles = []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}

// FitMemory tells the garbage collector the memory limit of the container, so that it works harder near it instead of
// letting the process be killed. A limit that is set already (GOMEMLIMIT) stays. (The runtime sees the limit of
// processors by itself.)
func FitMemory() {
	limit, ok := containerMemory(os.DirFS("/"))
	if ok && debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(int64(float64(limit) * memoryShare))
	}
}

// containerMemory is the limit in bytes; ok is false where there is none.
func containerMemory(root fs.FS) (limit int64, ok bool) {
	for _, name := range memoryFiles {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return limit, err == nil && limit > 0 && limit < unlimitedMemory // cgroup v2 says max
	}
	return 0, false
}

// unlimitedMemory is above any machine's memory. Without a limit cgroup v1 says the largest number of pages, in bytes.
const unlimitedMemory = 1 << 60
