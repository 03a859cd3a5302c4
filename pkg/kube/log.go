package kube

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"
	"k8s.io/klog/v2"
)

// logSink writes client-go's lines to our log, at debug level: what matters of them is said by us, once.
type logSink struct{ logger zerolog.Logger }

var _ klog.LogSink = logSink{}

// Init implements klog.LogSink.
func (logSink) Init(klog.RuntimeInfo) {}

// Enabled implements klog.LogSink: of the eleven levels of detail, the coarsest.
func (logSink) Enabled(level int) bool { return level == 0 }

// Info implements klog.LogSink.
func (s logSink) Info(_ int, message string, pairs ...any) {
	fields(s.logger.Debug(), pairs).Msg("Kubernetes client: " + message)
}

// Error implements klog.LogSink.
func (s logSink) Error(err error, message string, pairs ...any) {
	fields(s.logger.Debug().Err(err), pairs).Msg("Kubernetes client: " + message)
}

// WithValues implements klog.LogSink.
func (s logSink) WithValues(pairs ...any) klog.LogSink {
	logger := s.logger.With()
	for i := 0; i+1 < len(pairs); i += 2 {
		logger = logger.Str(fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1]))
	}
	return logSink{logger.Logger()}
}

// WithName implements klog.LogSink; the names say nothing that the lines do not.
func (s logSink) WithName(string) klog.LogSink { return s }

func fields(line *zerolog.Event, pairs []any) *zerolog.Event {
	if line == nil { // the level is off
		return nil
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		line = line.Str(fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1]))
	}
	return line
}

// warnings writes the API server's warnings to our log.
type warnings struct{ logger zerolog.Logger }

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.logger.Debug().Str("warning", Cut(text, MaxSentence)).Msg("the Kubernetes API warns")
}
