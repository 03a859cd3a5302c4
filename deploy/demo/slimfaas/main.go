// Command slimfaas is the program of the functions in deploy/demo/slimfaas: the routes of SlimFaas's demo, so that its tour can be
// taken here. Some routes call others through the API, whose address is in SLUICE_URL.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicefaas/sluice/deploy/demo/serve"
)

func main() { serve.Main(newDemo(os.Getenv("SLUICE_URL"), os.Getenv("FUNCTION")).routes()) }

const (
	// computeTime is how long /compute and /error take.
	computeTime = 100 * time.Millisecond
	// callbackAfter is the time between the 202 of /computeWithCallback and its callback; ?seconds= chooses another.
	callbackAfter = 10 * time.Second
	longestAfter  = 10 * time.Minute
	// maxInput keeps the recursion within some thousand calls.
	maxInput, maxRecursion = 93, 20
	// callTimeout bounds a call to another function, which may have to start.
	callTimeout = time.Minute
	// maxAnswer is how much of another function's answer is read, in bytes.
	maxAnswer = 64 << 10
)

// demo is one replica of one of the functions.
type demo struct {
	// api is the address of the gateway, name that of this function.
	api, name          string
	client             *http.Client
	running, completed atomic.Int64

	mu     sync.Mutex
	events []event // the newest ones; guarded by mu
}

// event is a request for /fibonacci as it was seen: GET /seen lists them, so that one can see who got an event.
type event struct {
	At    time.Time `json:"at"`
	Input int       `json:"input"`
	Host  string    `json:"host"`
	ID    string    `json:"id"`
}

// maxEvents bounds what is remembered.
const maxEvents = 100

func newDemo(api, name string) *demo {
	return &demo{api: api, name: name, client: &http.Client{Timeout: callTimeout}}
}

func (d *demo) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", hello)
	mux.HandleFunc("GET /download", download)
	mux.HandleFunc("GET /error", fail)
	mux.HandleFunc("GET /seen", d.seen)
	mux.HandleFunc("POST /fibonacci", d.fibonacci)
	mux.HandleFunc("POST /fibonacci-recursive", d.recursive)
	mux.HandleFunc("POST /fibonacci4", d.private)
	mux.HandleFunc("POST /send-private-fibonacci-event", d.publish)
	mux.HandleFunc("POST /compute", d.compute)
	mux.HandleFunc("POST /computeWithCallback", d.computeWithCallback)
	return mux
}

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "Hello %s!", r.PathValue("name")) // Whoever hung up needs no answer.
}

// download answers with a picture.
func download(w http.ResponseWriter, _ *http.Request) {
	const side = 64
	picture := image.NewGray(image.Rect(0, 0, side, side))
	for i := range side {
		picture.SetGray(i, i, color.Gray{Y: 255})
	}
	w.Header().Set("Content-Type", "image/png")
	_ = png.Encode(w, picture) // as above
}

func fail(w http.ResponseWriter, r *http.Request) {
	if serve.Pause(r, computeTime) {
		http.Error(w, "an error, as asked for", http.StatusInternalServerError)
	}
}

// input reads {"input":n}.
func input(w http.ResponseWriter, r *http.Request, most int) (n int, ok bool) {
	body, ok := serve.Body(w, r)
	if !ok {
		return 0, false
	}
	var request struct{ Input *int }
	if err := json.Unmarshal(body, &request); err != nil || request.Input == nil || *request.Input < 0 || *request.Input > most {
		http.Error(w, fmt.Sprintf(`the body must be such as {"input":10}, with input from 0 to %d`, most), http.StatusBadRequest)
		return 0, false
	}
	return *request.Input, true
}

func (d *demo) fibonacci(w http.ResponseWriter, r *http.Request) {
	n, ok := input(w, r, maxInput)
	if !ok {
		return
	}
	d.note(event{At: time.Now(), Input: n, Host: r.Host, ID: r.Header.Get("SlimFaas-Element-Id")})
	a, b := uint64(0), uint64(1)
	for range n {
		a, b = b, a+b
	}
	serve.JSON(w, http.StatusOK, map[string]uint64{"result": a})
}

func (d *demo) note(e event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.events = append(d.events, e); len(d.events) > maxEvents {
		d.events = d.events[1:]
	}
}

func (d *demo) seen(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	events := append([]event{}, d.events...)
	d.mu.Unlock()
	serve.JSON(w, http.StatusOK, events)
}

// recursion is the answer of /fibonacci-recursive: numberCall counts the calls that it took.
type recursion struct {
	Result     uint64 `json:"result"`
	NumberCall int    `json:"numberCall"`
}

// recursive calls fibonacci3, which may be this function, for the two numbers before.
func (d *demo) recursive(w http.ResponseWriter, r *http.Request) {
	n, ok := input(w, r, maxRecursion)
	if !ok {
		return
	}
	if n <= 2 {
		serve.JSON(w, http.StatusOK, recursion{Result: 1, NumberCall: 1})
		return
	}
	var before [2]recursion
	var errs [2]error
	var calls sync.WaitGroup
	ctx := r.Context()
	for i := range before {
		calls.Go(func() {
			errs[i] = d.call(ctx, "/function/fibonacci3/fibonacci-recursive", n-1-i, &before[i])
		})
	}
	calls.Wait()
	for _, err := range errs {
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	serve.JSON(w, http.StatusOK, recursion{
		Result: before[0].Result + before[1].Result, NumberCall: before[0].NumberCall + before[1].NumberCall + 1,
	})
}

// private calls fibonacci4, which answers callers from inside only.
func (d *demo) private(w http.ResponseWriter, r *http.Request) {
	n, ok := input(w, r, maxInput)
	if !ok {
		return
	}
	var answer map[string]uint64
	if err := d.call(r.Context(), "/function/fibonacci4/fibonacci", max(n-1, 0), &answer); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	serve.JSON(w, http.StatusOK, answer)
}

// publish publishes an event that only callers from inside may.
func (d *demo) publish(w http.ResponseWriter, r *http.Request) {
	n, ok := input(w, r, maxInput)
	if !ok {
		return
	}
	response, err := d.post(r.Context(), "/publish-event/fibo-private/fibonacci", map[string]int{"input": n})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_ = response.Body.Close()
	w.WriteHeader(response.StatusCode)
}

// call posts {"input":n} to the API and reads the JSON of a good answer.
func (d *demo) call(ctx context.Context, path string, n int, answer any) error {
	response, err := d.post(ctx, path, map[string]int{"input": n})
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", path, response.Status, body)
	}
	return json.Unmarshal(body, answer)
}

func (d *demo) post(ctx context.Context, path string, value any) (*http.Response, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, d.api+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return d.client.Do(request)
}
