package gateway

import (
	"net/http"
	"time"
)

// lingerTime is how long a caller may go on sending a body that nobody reads any more.
const lingerTime = 5 * time.Second

// lingering bounds what net/http does after a handler that has not read the whole body: it reads up to 256 KiB more, for as
// long as the caller likes, and sends a small answer only after that.
func lingering(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if r.ContentLength != 0 {
			// It fails on a hijacked connection only, which is over.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit))
		}
	})
}
