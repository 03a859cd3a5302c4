package ops

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Set by the linker (-X) for images, whose builds have no repository to look at.
var version, revision string

// Build says from what this binary was built.
type Build struct {
	// Version is that of the image or else the module's, "devel" for a build from a working tree.
	Version string
	// Revision is the commit, empty where the build did not record it.
	Revision string
	// Go is the version of the compiler.
	Go string
}

// String is the version, the revision if it is known, and that of the compiler.
func (b Build) String() string {
	return strings.Join(slices.DeleteFunc([]string{b.Version, b.Revision, b.Go}, func(part string) bool { return part == "" }), " ")
}

// ReadBuild returns what the linker recorded in the running binary.
func ReadBuild() Build {
	build := readBuildInfo()
	build.Version = cmp.Or(version, build.Version)
	build.Revision = cmp.Or(revision, build.Revision)
	return build
}

func readBuildInfo() Build {
	build := Build{Version: "devel", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build
	}
	if version := info.Main.Version; version != "" && version != "(devel)" {
		build.Version = version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			build.Revision = setting.Value
		}
	}
	return build
}

// NewRegistry returns a registry with the metrics that every process has: those of the Go runtime, of the process,
// and sluice_build_info, which is always 1 and says in its labels what is running.
func NewRegistry() *prometheus.Registry {
	build := ReadBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "sluice_build_info",
		Help:        "Always 1; the labels say which build is running.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "goversion": build.Go},
	})
	info.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info,
	)
	return registry
}
