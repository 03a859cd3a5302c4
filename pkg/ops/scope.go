package ops

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Scope registers the metrics of a part of the process that begins and ends while the process runs, such as a term as
// the leader, and takes them back at its end. It is a prometheus.Registerer.
type Scope struct {
	registry prometheus.Registerer

	mu         sync.Mutex
	collectors []prometheus.Collector // guarded by mu
}

// NewScope returns a Scope that registers with registry.
func NewScope(registry prometheus.Registerer) *Scope { return &Scope{registry: registry} }

// Register implements prometheus.Registerer.
func (s *Scope) Register(collector prometheus.Collector) error {
	if err := s.registry.Register(collector); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collectors = append(s.collectors, collector)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (s *Scope) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		if err := s.Register(collector); err != nil {
			panic(err) // as prometheus.Registerer demands
		}
	}
}

// Unregister implements prometheus.Registerer.
func (s *Scope) Unregister(collector prometheus.Collector) bool {
	return s.registry.Unregister(collector)
}

// Close unregisters everything that was registered.
func (s *Scope) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, collector := range s.collectors {
		s.registry.Unregister(collector)
	}
	s.collectors = nil
}
