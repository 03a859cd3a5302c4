package upstream

import (
	"net/http"
	"strings"
	"testing"
)

// TestH2CAnswerWithoutABody ends with its header: gRPC says an error so, and its clients take a header after which something may follow for an
// answer without status. Without a length, the header was sent alone, sometimes.
func TestH2CAnswerWithoutABody(t *testing.T) {
	g := newH2CGateway(t, h2cBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Grpc-Status", "9")
		w.Header()["Content-Length"] = nil // gRPC's servers send none
	}))
	transport := NewTransport()
	defer transport.CloseIdleConnections()
	for range 200 {
		request := newTestRequest(t, http.MethodPost, g.url("/"), strings.NewReader("x"))
		request.URL.Scheme = schemeH2C
		answer, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		<-g.outcomes
		if answer.ContentLength != 0 || answer.Header.Get("Grpc-Status") != "9" {
			t.Fatalf("length %d, header %v", answer.ContentLength, answer.Header)
		}
	}
}
