package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// source is what is built.
type source struct {
	// revision is the commit, with +dirty where files differ from it; empty where there is no repository.
	revision string
	// created is the time in all that is written, so that it depends on the source alone.
	created time.Time
}

// readSource asks git. SOURCE_DATE_EPOCH, in Unix seconds, wins over the time of the commit
// (reproducible-builds.org/specs/source-date-epoch).
func readSource(ctx context.Context) (source, error) {
	revision, seconds := "", "0"
	if line, err := output(ctx, "git", "log", "-1", "--format=%H %ct"); err == nil {
		revision, seconds, _ = strings.Cut(line, " ")
		changes, err := output(ctx, "git", "status", "--porcelain", "--untracked-files=no")
		if err != nil || changes != "" {
			revision += "+dirty"
		}
	}
	if epoch, ok := os.LookupEnv("SOURCE_DATE_EPOCH"); ok {
		seconds = epoch
	}
	created, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || created < 0 {
		return source{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: it must be a number of seconds since 1970", seconds)
	}
	return source{revision: revision, created: time.Unix(created, 0).UTC()}, nil
}

// moduleVersion is the version of a module in go.mod, without the v.
func moduleVersion(ctx context.Context, module string) (string, error) {
	version, err := output(ctx, "go", "list", "-m", "-f", "{{.Version}}", module)
	return strings.TrimPrefix(version, "v"), err
}

// output is what the command prints, without space around it. Its error has what it prints on stderr.
func output(ctx context.Context, name string, args ...string) (string, error) {
	text, err := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // the callers' own words
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("run %s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(text)), nil
}
