package kube

import (
	"sync"

	"github.com/rs/zerolog"
)

// outage notes who cannot reach the API server, to log the first failure of many and the end of all.
type outage struct {
	service Service
	logger  zerolog.Logger
	mu      sync.Mutex
	failed  map[string]struct{} // guarded by mu
}

func newOutage(service Service, logger zerolog.Logger) *outage {
	return &outage{service: service, logger: logger, failed: map[string]struct{}{}}
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
		o.logger.Warn().Err(err).Str("for", what).Msg("the Kubernetes API does not serve us: " + o.service.Outage)
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
