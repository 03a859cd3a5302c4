// Command echo is a demo function: it answers with the request as it arrived.
package main

import (
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/sluicefaas/sluice/deploy/demo/serve"
)

func main() { serve.Main(http.HandlerFunc(echo)) }

// maxDelay bounds ?delay=.
const maxDelay = 10 * time.Minute

// answer is the request. Exactly one of Body and BodyBase64 has the body.
type answer struct {
	Method string `json:"method"`
	// URI is the request's target as it was sent, with its escapes.
	URI     string      `json:"uri"`
	Host    string      `json:"host"`
	Headers http.Header `json:"headers"`
	Body    string      `json:"body"`
	// BodyBase64 has a body that is no UTF-8 text.
	BodyBase64 []byte `json:"bodyBase64,omitempty"`
}

// echo answers any path; ?status= chooses the status and ?delay= how long it takes.
func echo(w http.ResponseWriter, r *http.Request) {
	query := serve.NewQuery(r)
	status := query.Whole("status", http.StatusOK, 200, 599)
	delay := query.Duration("delay", 0, maxDelay)
	if query.Refused(w) {
		return
	}
	body, ok := serve.Body(w, r)
	if !ok || !serve.Pause(r, delay) {
		return
	}
	a := answer{Method: r.Method, URI: r.RequestURI, Host: r.Host, Headers: r.Header}
	if utf8.Valid(body) {
		a.Body = string(body)
	} else {
		a.BodyBase64 = body
	}
	serve.JSON(w, int(status), a)
}
