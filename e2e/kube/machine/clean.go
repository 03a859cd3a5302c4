package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// killLimit is how long killed processes may take to be gone.
const killLimit = 10 * time.Second

// clean puts the machine back as the record says it was. The order matters: who could start or mount anything ends
// first. Every step is tried, and may be repeated.
func clean(ctx context.Context, r record) error {
	all := []error{
		killAll(ctx, "the node's programs", programPIDs),
		killAll(ctx, "the pods' processes", podPIDs),
		unmountAll(r),
		deleteLinks(),
		removeCgroups(),
		removeRules(ctx),
		r.restoreSysctls(),
		removeFolders(r),
	}
	if err := errors.Join(all...); err != nil {
		return err // the record stays for another try
	}
	if err := os.RemoveAll(RunDir); err != nil {
		return fmt.Errorf("remove the node's folder: %w", err)
	}
	return nil
}

// unmountAll unmounts what is mounted below the node's and the cluster's folder, the deepest first.
func unmountAll(r record) error {
	mounts, err := mountinfo.GetMounts(func(info *mountinfo.Info) (skip, stop bool) {
		return !within(info.Mountpoint, RunDir) && !within(info.Mountpoint, r.Dir), false
	})
	if err != nil {
		return fmt.Errorf("list the mounts: %w", err)
	}
	var all []error
	for i := len(mounts) - 1; i >= 0; i-- { // a mount is listed after the one that it is in
		err := unix.Unmount(mounts[i].Mountpoint, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			continue // it has gone with another one, or is hidden below one
		}
		if err != nil {
			all = append(all, fmt.Errorf("unmount %s: %w", mounts[i].Mountpoint, err))
		}
	}
	return errors.Join(all...)
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// removeFolders removes what no setting could keep inside our folders.
func removeFolders(r record) error {
	var all []error
	for _, folder := range r.Absent {
		all = append(all, os.RemoveAll(folder))
	}
	// Where the folder was there before, only our network's part of it goes.
	cached, _ := filepath.Glob("/var/lib/cni/results/" + NetworkName + "-*")
	for _, file := range cached {
		all = append(all, os.Remove(file))
	}
	return errors.Join(all...)
}

// NetworkName is the name of the pods' network in the configuration of CNI.
const NetworkName = "sluice-kube"
