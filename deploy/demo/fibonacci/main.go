// Command fibonacci is a demo function: it computes Fibonacci numbers and greets.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sluicefaas/sluice/deploy/demo/serve"
)

func main() { serve.Main(handler()) }

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /fibonacci", compute)
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "Hello %s!", r.PathValue("name")) // Whoever hung up needs no answer.
	})
	return mux
}

// maxInput is the largest whose Fibonacci number fits 64 bits.
const maxInput = 93

func compute(w http.ResponseWriter, r *http.Request) {
	body, ok := serve.Body(w, r)
	if !ok {
		return
	}
	var request struct{ Input *int }
	if err := json.Unmarshal(body, &request); err != nil || request.Input == nil || *request.Input < 0 || *request.Input > maxInput {
		http.Error(w, fmt.Sprintf(`the body must be such as {"input":10}, with input from 0 to %d`, maxInput), http.StatusBadRequest)
		return
	}
	serve.JSON(w, http.StatusOK, map[string]uint64{"result": fibonacci(*request.Input)})
}

func fibonacci(n int) uint64 {
	a, b := uint64(0), uint64(1)
	for range n {
		a, b = b, a+b
	}
	return a
}
