package kube

import (
	"context"
	"fmt"
	"sync"

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
	w.logger.Debug().Str("warning", cut(text)).Msg("the Kubernetes API warns")
}

// outage notes who cannot reach the API server, to log the first failure of many and the end of all.
type outage struct {
	logger zerolog.Logger
	mu     sync.Mutex
	failed map[string]struct{} // guarded by mu
}

func newOutage(logger zerolog.Logger) *outage {
	return &outage{logger: logger, failed: map[string]struct{}{}}
}

// note takes the result of one of the requests that are repeated for ever, by what for it is.
func (o *outage) note(what string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := len(o.failed)
	if err != nil {
		o.failed[what] = struct{}{}
	} else {
		delete(o.failed, what)
	}
	switch {
	case before == 0 && len(o.failed) > 0:
		o.logger.Warn().Err(err).Str("for", what).Msg("the Kubernetes API does not serve us: calls go on, and nothing is scaled until it does")
	case before > 0 && len(o.failed) == 0:
		o.logger.Info().Msg("the Kubernetes API serves us again")
	}
}

// forget drops those who have stopped trying.
func (o *outage) forget(whats ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, what := range whats {
		delete(o.failed, what)
	}
}
