package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxProfile bounds one profile, in bytes.
const maxProfile = 64 << 20

// profiled takes profiles of sluice while a round runs, if profiles are wanted. The returned function waits for them.
func (s *sluice) profiled(ctx context.Context, b *bench, name string, length time.Duration) (wait func()) {
	if b.settings.profile == "" {
		return func() {}
	}
	var saving sync.WaitGroup
	for kind, page := range map[string]string{"cpu": "profile", "allocs": "allocs"} {
		saving.Go(func() {
			path := filepath.Join(b.settings.profile, name+"-"+kind+".pprof")
			if err := s.saveProfile(ctx, page, path, length); err != nil {
				fmt.Println("  no profile:", err)
			}
		})
	}
	return saving.Wait
}

func (s *sluice) saveProfile(ctx context.Context, page, path string, length time.Duration) error {
	url := fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%d", s.ops, page, max(1, int(length.Seconds())))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxProfile))
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// tick is the unit of /proc/<pid>/stat on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpu is the processor time that the child has used, where the system has /proc. The child may be nil: nginx works in
// children of its own.
func (c *child) cpu() (time.Duration, error) {
	if c == nil {
		return 0, errors.ErrUnsupported
	}
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid), "stat"))
	if err != nil {
		return 0, err
	}
	_, fields, _ := strings.Cut(string(text), ") ") // behind the name, which may have spaces
	words := strings.Fields(fields)
	if len(words) < 13 {
		return 0, errors.New("/proc has another form")
	}
	user, err := strconv.Atoi(words[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(words[12])
	return time.Duration(user+system) * tick, err
}
