package local

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// watchdogPause is the time between the end of a watchdog and the start of the next one.
const watchdogPause = time.Second

// registry knows the children that live and tells it to those who outlive this process: the watchdog, and the file
// that the next run reads.
type registry struct {
	logger zerolog.Logger
	file   leftovers
	argv   []string       // of the watchdog; empty for none
	stop   chan struct{}  // closed by close
	keeper sync.WaitGroup // the goroutine that keeps a watchdog running

	mu       sync.Mutex
	groups   map[int]string // guarded by mu: process group → start time of its leader
	watchdog *watchdog      // guarded by mu; nil while there is none
}

func openRegistry(config ClusterConfig, logger zerolog.Logger) (*registry, error) {
	argv, err := watchdogCommand(config)
	if err != nil {
		return nil, err
	}
	r := &registry{
		logger: logger, argv: argv, stop: make(chan struct{}), groups: map[int]string{},
		file: leftovers{path: filepath.Join(config.DataDir, "processes"), logger: logger},
	}
	r.file.end()
	if err := r.file.write(nil); err != nil {
		return nil, err
	}
	if len(argv) == 0 {
		return r, nil
	}
	if r.watchdog, err = startWatchdog(argv); err != nil {
		return nil, err
	}
	r.keeper.Go(r.keepWatchdog)
	return r, nil
}

func watchdogCommand(config ClusterConfig) ([]string, error) {
	if config.noWatchdog || len(config.Watchdog) > 0 {
		return config.Watchdog, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the own binary for the watchdog: %w", err)
	}
	return []string{self, "watchdog"}, nil
}

// add lists a process that has just been started and has not been waited for yet. It returns its start time.
func (r *registry) add(pid int) (start string) {
	start, err := startTime(pid)
	if err != nil {
		r.logger.Warn().Err(err).Msg("A child is not watched")
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.groups[pid] = start
	if r.watchdog != nil {
		r.complain(r.watchdog.started(pid, start))
	}
	r.complain(r.file.write(r.groups))
	return start
}

func (r *registry) remove(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.groups, pid)
	if r.watchdog != nil {
		r.complain(r.watchdog.removed(pid))
	}
	r.complain(r.file.write(r.groups))
}

func (r *registry) complain(err error) {
	if err != nil {
		r.logger.Warn().Err(err).Msg("If this process is killed now, a child may be left behind")
	}
}

// keepWatchdog replaces a watchdog that ended before its time, until close.
func (r *registry) keepWatchdog() {
	for {
		var ended chan struct{}    // nil, which blocks, while there is no watchdog
		var pause <-chan time.Time // nil while there is one
		if current := r.current(); current != nil {
			ended = current.ended
		} else {
			pause = time.After(watchdogPause)
		}
		select {
		case <-r.stop:
			return
		case <-ended:
			r.logger.Warn().Msg("The watchdog ended before its time: starting another one")
			r.drop()
		case <-pause:
			r.replace()
		}
	}
}

func (r *registry) current() *watchdog {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.watchdog
}

func (r *registry) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.watchdog.pipe.Close()
	r.watchdog = nil
}

// replace starts a watchdog and tells it of every child.
func (r *registry) replace() {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := startWatchdog(r.argv)
	if err != nil {
		r.complain(err)
		return
	}
	r.watchdog = next
	for group, start := range r.groups {
		r.complain(next.started(group, start))
	}
}

// close is called when every child is gone.
func (r *registry) close() {
	close(r.stop)
	r.keeper.Wait()
	if last := r.current(); last != nil {
		last.close()
	}
}
