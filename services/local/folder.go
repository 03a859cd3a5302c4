package local

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// dataFolder is the one folder with all state, locked while it is in use.
type dataFolder struct {
	path string
	lock *flock.Flock
}

// openFolder makes the folder if it is not there and locks it.
func openFolder(path string) (*dataFolder, error) {
	const onlyOurs = 0o700
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the data folder %q: %w", path, err)
	}
	if err := os.MkdirAll(path, onlyOurs); err != nil {
		return nil, fmt.Errorf("make the data folder, choose another with --data: %w", err)
	}
	lock := flock.New(filepath.Join(path, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data folder %s: %w", path, err)
	}
	if !locked {
		return nil, fmt.Errorf("the data folder %s is in use by another sluice local: stop that one or choose another folder with --data", path)
	}
	return &dataFolder{path: path, lock: lock}, nil
}

// close unlocks the folder. The lock file stays: removing it would race with the next one to lock it.
func (f *dataFolder) close() error { return f.lock.Close() }

// freeSpace is the number of bytes that may still be written to the folder's volume.
func freeSpace(folder string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(folder, &stat); err != nil {
		return 0, fmt.Errorf("look at the free space of %s: %w", folder, err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil //nolint:unconvert // types differ between systems
}

// sizeOf is the number of bytes in a folder's files; what cannot be read counts as nothing.
func sizeOf(folder string) (size int64) {
	_ = fs.WalkDir(os.DirFS(folder), ".", func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // a folder that is not there is empty
		}
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}
