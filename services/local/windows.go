//go:build windows

package local

// Process groups, death signals and a watchdog in a session of its own are what keeps children from outliving
// their parent, and Windows has none of them: the build ends here with the name below.
const _ = Sluice_local_runs_on_Linux_and_macOS_only
