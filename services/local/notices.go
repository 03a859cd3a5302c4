package local

import (
	"fmt"

	"github.com/rs/zerolog"
)

// logNotices logs what the manifests are told about, and returns how many were refused.
func logNotices(logger zerolog.Logger, notices []Notice) (refused int) {
	for _, notice := range notices {
		event := logger.Info()
		switch notice.Level {
		case LevelWarn:
			event = logger.Warn()
		case LevelError:
			event = logger.Error()
			refused++
		}
		event.Msg(notice.String())
	}
	return refused
}

// Validate checks manifests without running anything. The error says that something was refused; the log says what.
func Validate(manifests []string, logger zerolog.Logger) error {
	contents, notices, err := LoadManifests(manifests)
	if err != nil {
		return err
	}
	if refused := logNotices(logger, notices); refused > 0 {
		return fmt.Errorf("manifests: %d refused, %d functions and %d jobs are right", refused, len(contents.Workloads), len(contents.Jobs))
	}
	logger.Info().Int("functions", len(contents.Workloads)).Int("jobs", len(contents.Jobs)).Msg("manifests are right")
	return nil
}
