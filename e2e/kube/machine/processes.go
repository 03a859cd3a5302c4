package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sluicefaas/sluice/e2e/kube/await"
)

// killAll kills the processes until there are none: what is found may have started others meanwhile.
func killAll(ctx context.Context, what string, find func() ([]int, error)) error {
	return await.Until(ctx, "the end of "+what, killLimit, func(context.Context) error {
		pids, err := find()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
		if len(pids) > 0 {
			return fmt.Errorf("%d are left: %v", len(pids), pids)
		}
		return nil
	})
}

// programPIDs are the node's programs and containerd's shims. Each has a file or a socket of RunDir among its arguments.
func programPIDs() ([]int, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var pids []int
	for _, process := range processes {
		pid, err := strconv.Atoi(filepath.Base(process))
		if err == nil && pid != os.Getpid() && isProgram(process) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// isProgram looks at the executable as well: a shell that names such a file is none of the node's.
func isProgram(process string) bool {
	executable, err := os.Readlink(filepath.Join(process, "exe"))
	if err != nil {
		return false // it has ended just now, or is the kernel's
	}
	arguments, err := os.ReadFile(filepath.Join(process, "cmdline"))
	if err != nil || !strings.Contains(string(arguments), RunDir+"/") {
		return false
	}
	self, _ := os.Executable()
	name := filepath.Base(strings.TrimSuffix(executable, " (deleted)"))
	return executable == self || slices.Contains([]string{"kube", "coredns", "containerd", "containerd-shim-runc-v2", "runc", "ctr"}, name)
}

// podCgroups are the roots of the kubelet's control groups: one, or one in each hierarchy of version 1.
func podCgroups() ([]string, error) {
	var roots []string
	for _, pattern := range []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
		roots = append(roots, found...)
	}
	return roots, nil
}

// podPIDs are the processes inside of pods.
func podPIDs() ([]int, error) {
	var pids []int
	err := eachPodCgroup(func(folder string) error {
		text, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
			return fmt.Errorf("list the processes of a pod: %w", err)
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// removeCgroups removes the kubelet's control groups, which have no processes any more.
func removeCgroups() error {
	var folders []string
	err := eachPodCgroup(func(folder string) error {
		folders = append(folders, folder)
		return nil
	})
	if err != nil {
		return err
	}
	for i := len(folders) - 1; i >= 0; i-- { // a folder is found before those in it
		if err := os.Remove(folders[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a pod's control group: %w", err)
		}
	}
	return nil
}

// eachPodCgroup calls do for every control group of pods, an outer one before its inner ones.
func eachPodCgroup(do func(folder string) error) error {
	roots, err := podCgroups()
	if err != nil {
		return err
	}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed while it was walked through
			}
			if err != nil || !entry.IsDir() {
				return err
			}
			return do(path)
		})
		if err != nil {
			return fmt.Errorf("walk through the pods' control groups: %w", err)
		}
	}
	return nil
}
