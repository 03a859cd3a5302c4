// Command stream is a demo function: it answers piece by piece.
package main

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/sluicefaas/sluice/deploy/demo/serve"
)

func main() { serve.Main(handler()) }

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/events", events)
	mux.HandleFunc("/download", download)
	return mux
}

// Bounds of the parameters.
const (
	maxEvents   = 1_000_000
	maxEvery    = time.Minute
	maxDownload = 16 << 30
)

// events counts as server-sent events: ?n= of them (10), one ?every= (1s).
func events(w http.ResponseWriter, r *http.Request) {
	query := serve.NewQuery(r)
	n := query.Whole("n", 10, 0, maxEvents)
	every := query.Duration("every", time.Second, maxEvery)
	if query.Refused(w) {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	for i := range n {
		if i > 0 && !serve.Pause(r, every) {
			return
		}
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %d\n\n", i+1, i+1); err != nil {
			return
		}
		if control.Flush() != nil {
			return
		}
	}
}

// download answers with ?bytes= bytes (1 MiB), chunked, in lines of 64 digits.
func download(w http.ResponseWriter, r *http.Request) {
	query := serve.NewQuery(r)
	left := query.Whole("bytes", 1<<20, 0, maxDownload)
	if query.Refused(w) {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(http.StatusOK)
	if http.NewResponseController(w).Flush() != nil { // Without a length, so that the answer is chunked.
		return
	}
	piece := bytes.Repeat([]byte("0123456789012345678901234567890123456789012345678901234567890123\n"), 500)
	for left > 0 {
		written, err := w.Write(piece[:min(int64(len(piece)), left)])
		if err != nil {
			return
		}
		left -= int64(written)
	}
}
