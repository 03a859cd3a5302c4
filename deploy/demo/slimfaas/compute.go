package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sluicefaas/sluice/deploy/demo/serve"
)

// progress is what /compute and /computeWithCallback answer.
type progress struct {
	ElementID        string `json:"elementId,omitempty"`
	State            string `json:"state"`
	RunningRequests  int64  `json:"runningRequests"`
	FinishedRequests int64  `json:"finishedRequests"`
}

func (d *demo) begin() { d.running.Add(1) }

func (d *demo) end() {
	d.running.Add(-1)
	d.completed.Add(1)
}

func (d *demo) progress() progress {
	p := progress{State: "idle", RunningRequests: d.running.Load(), FinishedRequests: d.completed.Load()}
	if p.RunningRequests > 0 {
		p.State = "processing"
	}
	return p
}

func (d *demo) compute(w http.ResponseWriter, r *http.Request) {
	d.begin()
	defer d.end()
	if _, ok := serve.Body(w, r); ok && serve.Pause(r, computeTime) {
		serve.JSON(w, http.StatusOK, d.progress())
	}
}

// computeWithCallback takes an async call over: it answers 202, works, and says how it ended. An empty JSON object ends with an error.
func (d *demo) computeWithCallback(w http.ResponseWriter, r *http.Request) {
	query := serve.NewQuery(r)
	after := query.Seconds("seconds", callbackAfter, longestAfter)
	if query.Refused(w) {
		return
	}
	body, ok := serve.Body(w, r)
	if !ok {
		return
	}
	d.begin()
	id, word := r.Header.Get("SlimFaas-Element-Id"), "success"
	if strings.TrimSpace(string(body)) == "{}" {
		word = "error"
	}
	// It outlives the request, and ends with the process at the latest.
	time.AfterFunc(after, func() { //nolint:contextcheck // see above
		defer d.end()
		d.callBack(id, word)
	})
	answer := d.progress()
	answer.ElementID = id
	w.Header().Set("SlimFaas-Element-Id", id)
	serve.JSON(w, http.StatusAccepted, answer)
}

// callBack ends the call; the word is success or error.
func (d *demo) callBack(id, word string) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	response, err := d.post(ctx, "/async-function-callback/"+d.name+"/"+id+"/"+word, struct{}{})
	if err != nil {
		fmt.Println("callback of", id, "failed:", err)
		return
	}
	_ = response.Body.Close()
	fmt.Println("callback of", id, "answered", response.Status)
}
