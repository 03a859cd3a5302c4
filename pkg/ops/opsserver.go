package ops

import (
	"fmt"
	"net/http"
	"net/http/pprof" // it also registers on http.DefaultServeMux, which nothing of ours serves

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves the ops port, which is for operators and never for callers from outside: /metrics of the
// registry, /health, /ready and /debug/pprof/.
func Handler(registry *prometheus.Registry, health *Health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.Handle("GET /health", health.LiveHandler())
	mux.Handle("GET /ready", health.ReadyHandler())
	// No method here: pprof sends symbols' addresses by POST, and ServeMux wants all of a family alike.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "/metrics /health /ready /debug/pprof/")
	})
	return mux
}
